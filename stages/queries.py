"""Read the rows of an SQL query into a Parquet file; by SQLAlchemy, in batches, so that memory stays flat.

The address of the database, with its password, comes from an environment
variable and is never written or printed.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from stages import masking, params, progress
from stages.columnar import Pieces
from stages.content import File
from stages.tables import DataError

if TYPE_CHECKING:
    import sqlalchemy as sa

# Rows in memory at a time, and in a row group. Another number would change the hash of all that is pinned.
BATCH = 50_000
_READ_ONLY = {
    "sqlite": "PRAGMA query_only = ON",
    "mysql": "SET SESSION TRANSACTION READ ONLY",
    "mariadb": "SET SESSION TRANSACTION READ ONLY",
    "oracle": "SET TRANSACTION READ ONLY",
}
_DRIVERS = {"psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient", "psycopg": "psycopg[binary]"}


class Query(params.Section):
    """A query, and the environment variable that holds the address of the database."""

    url_env: str
    query: str = Field(min_length=1)

    @model_validator(mode="after")
    def _names_a_variable(self) -> Self:
        # The value is not shown: an address with its password may stand there by mistake.
        if not re.fullmatch(r"[A-Za-z_]\w*", self.url_env, re.ASCII):
            raise ValueError("url_env must be the name of an environment variable, such as WAREHOUSE_URL")
        return self


class Sql(params.Section):
    """A source that is a query."""

    sql: Query

    @property
    def shown(self) -> str:
        """What messages call it."""
        return f"sql:{self.sql.url_env}"

    @property
    def ordered(self) -> bool:
        """Whether the query says in which order the rows come."""
        return re.search(r"(?i)\border\s+by\b", self.sql.query) is not None


def download(source: Sql, folder: Path) -> list[File]:
    """Write the query's rows into a folder, in the order in which the database gives them.

    Raises:
        DataError: the database cannot be reached, or refuses the query, or a column has no type of ours.
    """
    from sqlalchemy.exc import SQLAlchemyError

    url = os.environ.get(source.sql.url_env)
    if not url:
        raise DataError(
            f"{source.shown}: the environment variable {source.sql.url_env} is not set; it must hold the address of "
            "the database, as postgresql+psycopg://USER:PASSWORD@HOST/DATABASE"
        )
    path = folder / "0.parquet"
    try:
        with _engine(source, url) as engine:
            rows = _read(engine, source, path)
            dialect = engine.dialect.name
    except SQLAlchemyError as error:
        raise DataError(
            f"{source.shown}: {_hidden(_said(error), url)}; see the query, and what {source.sql.url_env} holds"
        ) from None
    facts = {"query": source.sql.query, "dialect": dialect, "rows": rows}
    return [File(source.shown, path, facts, digest)]


@contextmanager
def _engine(source: Sql, url: str) -> "Iterator[sa.Engine]":
    """Yield an engine for an address."""
    import sqlalchemy as sa

    try:
        engine = sa.create_engine(url, poolclass=sa.NullPool)
    except sa.exc.NoSuchModuleError as error:
        raise DataError(f"{source.shown}: {_hidden(str(error), url)}; install the package of that dialect") from None
    except (sa.exc.ArgumentError, ValueError):  # ValueError: of a port, where an @ in a password is not written %40
        raise DataError(
            f"{source.shown}: what {source.sql.url_env} holds is no address of a database; it must be as "
            "postgresql+psycopg://USER:PASSWORD@HOST/DATABASE, signs of a password written as in addresses (%40 for @)"
        ) from None
    except ModuleNotFoundError as error:
        package = _DRIVERS.get(str(error.name), str(error.name))
        raise DataError(f"{source.shown}: the database's driver is not installed: `pip install {package}`") from None
    if engine.dialect.name == "sqlite" and not _is_there(engine.url.database):
        raise DataError(f"{source.shown}: the database's file is not there; see what {source.sql.url_env} holds")
    yield engine


def _is_there(database: str | None) -> bool:
    """Say whether sqlite has the database, and would not make an empty one."""
    return not database or database.startswith((":memory:", "file:")) or Path(database).is_file()


def _read(engine: "sa.Engine", source: Sql, path: Path) -> int:
    """Write the query's rows to `path`, and return their number."""
    with engine.connect() as opened, progress.step(f"read {source.shown}") as report:
        if engine.dialect.name == "postgresql":
            opened.execution_options(postgresql_readonly=True)
        elif engine.dialect.name in _READ_ONLY:
            opened.exec_driver_sql(_READ_ONLY[engine.dialect.name])
        # no_parameters: a % in the query is a %. stream_results: the rows stay on the server until they are asked for.
        options = {"stream_results": True, "no_parameters": True, "max_row_buffer": BATCH}
        result = opened.exec_driver_sql(source.sql.query.strip().rstrip(";"), execution_options=options)
        if not result.returns_rows:
            raise DataError(f"{source.shown}: the query gives no rows; it must be a SELECT")
        pieces = Pieces(source.shown, list(result.keys()), path)
        for rows in result.partitions(BATCH):
            pieces.add(rows)
            report(pieces.rows)
        pieces.finish()
        return pieces.rows


def _said(error: Any) -> str:
    """Return what the database said, on one line."""
    text = str(getattr(error, "orig", None) or error)
    return " ".join(text.split())[:300]


def _hidden(text: str, url: str) -> str:
    """Return a text without the address of the database or its password."""
    import sqlalchemy as sa

    secrets = [url]
    try:
        parsed = sa.make_url(url)
        secrets += [str(parsed.password or ""), parsed.render_as_string(hide_password=False)]
    except sa.exc.ArgumentError:
        pass
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "***")
    return masking.masked(text)


def digest(path: Path) -> str:
    """Return the SHA-256 of a query's rows: their columns' names and types, and their values in order.

    It is of what the file says and not of its bytes, which change with the
    library that writes it. Row groups are hashed one after the other, in each
    every column: which cells are gaps, then the values, a gap as 0 or "".
    """
    import pyarrow.parquet as pq

    found = hashlib.sha256()
    with pq.ParquetFile(path) as file:
        found.update(repr([(field.name, str(field.type)) for field in file.schema_arrow]).encode())
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            for column in table.columns:
                for part in _bytes(column.combine_chunks()):
                    found.update(part)
    return found.hexdigest()


def _bytes(values: Any) -> Sequence[bytes]:
    """Return a column's values as bytes: gaps, then numbers, or lengths and texts."""
    import pyarrow as pa
    import pyarrow.compute as pc

    gaps = values.is_null().to_numpy(zero_copy_only=False).astype("u1").tobytes()
    if pa.types.is_null(values.type):
        return [gaps]
    if pa.types.is_string(values.type):
        texts = values.fill_null("")
        lengths = pc.binary_length(texts).to_numpy(zero_copy_only=False).astype("<i8").tobytes()
        return [gaps, lengths, "".join(texts.to_pylist()).encode()]
    if pa.types.is_boolean(values.type):
        return [gaps, values.fill_null(False).to_numpy(zero_copy_only=False).astype("u1").tobytes()]
    if pa.types.is_floating(values.type):
        return [gaps, values.fill_null(0.0).to_numpy(zero_copy_only=False).astype("<f8").tobytes()]
    whole = values.cast(pa.int64()) if pa.types.is_temporal(values.type) else values
    return [gaps, whole.fill_null(0).to_numpy(zero_copy_only=False).astype("<i8").tobytes()]
