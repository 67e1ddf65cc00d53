"""The PostgreSQL server that tests talk to, and databases of their own on it."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

POSTGRES = os.environ.get("TRIALTREE_TEST_POSTGRES", "postgresql+psycopg://postgres:planted@127.0.0.1:5432/postgres")


def postgres() -> sa.Engine:
    """Return the server of this machine, which is started if it stands still."""
    engine = sa.create_engine(POSTGRES, poolclass=sa.NullPool, connect_args={"connect_timeout": 5})
    for _ in range(2):
        try:
            engine.connect().close()
            return engine
        except sa.exc.OperationalError:
            if control := shutil.which("pg_ctlcluster"):
                listed = subprocess.run(["pg_lsclusters", "-h"], capture_output=True, text=True, check=False).stdout
                subprocess.run([control, *listed.split()[:2], "start"], check=False)
    if os.environ.get("CI"):
        pytest.fail("PostgreSQL is not there")
    pytest.skip("PostgreSQL is not there; TRIALTREE_TEST_POSTGRES names one")


@contextmanager
def database(name: str) -> Iterator[str]:
    """Yield the address of a new and empty database."""
    name = f"{name}_{os.getpid()}"
    engine = postgres().execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
        try:
            yield f"{POSTGRES.rpartition('/')[0]}/{name}"
        finally:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
