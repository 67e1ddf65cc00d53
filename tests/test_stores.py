"""A store that cannot be used is one clear line, and nothing is lost or doubled by it."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
import sqlalchemy as sa

from examples.walkthrough import services
from stages.errors import UserError
from tests.conftest import PROJECT
from tests.postgres import database
from tests.servers import Line, answering, line_to
from tests.test_tracking import TRIAL
from trialtree.tracking import addresses, publish, stores

MUST = "MLFLOW_TRACKING_URI: must be http(s)://HOST:PORT, postgresql://USER@HOST/DATABASE or sqlite:///PATH"
MLFLOW = version("mlflow")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Know no address and no password, and leave the environment as it was."""
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)
    for name in stores._SETTINGS:
        monkeypatch.setenv(name, stores._SETTINGS[name])
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


def runs(store: stores.Store) -> list[tuple[str, int, int]]:
    """Publish the trial; return status, params and metrics of all runs of its experiment."""
    with store.opened() as client:
        publish(TRIAL, client, store.artifacts)
        experiment = client.get_experiment_by_name(TRIAL.experiment)
        found = client.search_runs([experiment.experiment_id])
        return [(run.info.status, len(run.data.params), len(run.data.metrics)) for run in found]


WHOLE = [("FINISHED", 3, 2)]


def said(uri: str, top: Path) -> str:
    """Return the line that publishing to a store ends with, without what is the same in all."""
    with pytest.raises(UserError) as raised:
        runs(stores.Store(uri, top))
    found = re.fullmatch(
        r"MLflow at \S+: (.*); the trial is kept; `dvc repro register` publishes it once that is mended",
        str(raised.value),
    )
    assert found, raised.value
    return found[1]


@pytest.mark.parametrize(
    ("uri", "line"),
    [
        ("localhost:5000", f"{MUST}, got localhost:5000; did you mean http://localhost:5000?"),
        ("127.0.0.1:5000/ml", f"{MUST}, got 127.0.0.1:5000/ml; did you mean http://127.0.0.1:5000/ml?"),
        ("http://", f"{MUST}, got no host"),
        ("postgresql:/host/db", f"{MUST}, got postgresql: without //"),
        ("foo://bar", f"{MUST}, or of a scheme whose MLflow plugin is installed, got foo://"),
        ("http://me:pla#nted:word@host/", f"{MUST}; signs of a password are written as in addresses (%40 for @)"),
        ("postgresql://me:planted@host:port/x", f"{MUST}; signs of a password are written as in addresses (%40 for @)"),
        ("sqlite://", "MLFLOW_TRACKING_URI: must be sqlite:///PATH, a file that stays, got sqlite://"),
        ("sqlite:///:memory:", "MLFLOW_TRACKING_URI: must be sqlite:///PATH, a file that stays, got sqlite:///:memory:"),
        ("azureml://region/x", "MLFLOW_TRACKING_URI: azureml:// needs the package azureml-mlflow: "
         "`pip install azureml-mlflow`"),
    ],
)  # fmt: skip
def test_an_address_that_no_store_can_have_is_said(uri: str, line: str) -> None:
    with pytest.raises(UserError) as raised:
        addresses.absolute(uri)
    assert str(raised.value) == line


def test_an_address_means_the_same_in_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = ["https://u:p@host/x", "postgresql+psycopg://u:p@h/d?x=%40", "sqlite:////a/b.db", "sqlite:///b.db",
             "databricks", "databricks://profile", "databricks-uc"]  # fmt: skip
    assert [addresses.absolute(uri) for uri in given] == [
        *given[:3], f"sqlite:///{tmp_path}/b.db", *given[4:]
    ]  # fmt: skip


def test_a_database_keeps_its_files_in_the_repository_or_where_the_user_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uris = [f"sqlite:///{tmp_path}/mlflow.db", "postgresql://h/d", "http://h", "databricks"]
    own = f"file://{tmp_path}/mlartifacts"
    assert [stores.Store(uri, tmp_path).artifacts for uri in uris] == [own, own, None, None]
    monkeypatch.setenv("MLFLOW_DEFAULT_ARTIFACT_ROOT", "s3://bucket/x")
    assert [stores.Store(uri, tmp_path).artifacts for uri in uris] == [own, "s3://bucket/x", None, None]


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (401, "the server asks for a user and a password, and refuses these (401); set MLFLOW_TRACKING_USERNAME and "
         "MLFLOW_TRACKING_PASSWORD"),
        (403, "the user has no permission for this (403); ask for it, or see MLFLOW_TRACKING_USERNAME and "
         "MLFLOW_TRACKING_PASSWORD"),
        (404, "what answers there is no MLflow server"),
        (200, "what answers there is no MLflow server"),
        (503, "the server fails (503); see its log"),
    ],
)  # fmt: skip
def test_a_server_that_refuses_is_said(status: int, line: str, tmp_path: Path) -> None:
    with answering(status, "planted", "GET POST") as address:
        assert said(address, tmp_path) == line


def test_a_server_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "_STARTS", 0.5)
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = f"127.0.0.1:{silent.getsockname()[1]}"
        assert said(f"http://{where}", tmp_path) == (
            "the server does not answer; see whether it is overloaded or stopped"
        )
        monkeypatch.setattr("mlflow.store.db.utils.create_sqlalchemy_engine_with_retry", _once)
        assert "timeout" in said(f"postgresql+psycopg://me@{where}/x", tmp_path)


def _once(uri: str) -> sa.Engine:
    """Return an engine after one attempt, of the four."""
    engine = sa.create_engine(uri)
    sa.inspect(engine)
    return engine


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real MLflow server."""
    with services.mlflow(tmp_path_factory.mktemp("mlflow") / "server") as address:
        yield address


def cut(line: Line, after: int) -> None:
    """Let the line end, for good, after so many bytes."""
    line.stop_after(after)
    line.go_on.set()


@pytest.mark.slow
def test_a_server_that_dies_in_the_middle_gets_the_rest_later_and_nothing_twice(server: str, tmp_path: Path) -> None:
    with line_to(server) as line:
        for after in (0, 700, 1500, 3000):
            cut(line, after)
            assert said(line.address, tmp_path) == "cannot be reached (ConnectionError)"
        line.stop_after(None)
        assert runs(stores.Store(line.address, tmp_path)) == WHOLE


def test_a_database_that_dies_in_the_middle_gets_the_rest_later_and_nothing_twice(tmp_path: Path) -> None:
    with database("dying") as uri:
        host = uri.partition("@")[2].partition("/")[0]
        with stores.Store(uri, tmp_path).opened() as client:
            client.search_experiments()
        with line_to(f"http://{host}") as line:
            through = uri.replace(host, line.address.removeprefix("http://"))
            for after in (4000, 9000, 15_000):
                cut(line, after)
                assert re.search("connection|server closed", said(f"{through}?application_name=cut{after}", tmp_path))
        assert runs(stores.Store(uri, tmp_path)) == WHOLE


@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
def test_a_schema_of_another_mlflow_is_said(kind: str, tmp_path: Path) -> None:
    from alembic.script import ScriptDirectory
    from mlflow.store.db.utils import _get_alembic_config

    before = ScriptDirectory.from_config(_get_alembic_config("")).get_revision("head").down_revision
    with database("schema") as empty:
        uri = empty if kind == "postgresql" else f"sqlite:///{tmp_path}/other.db"
        assert runs(stores.Store(uri, tmp_path)) == WHOLE
        engine, lines, other = sa.create_engine(uri), {}, "application_name" if kind == "postgresql" else "x"
        for revision in ("f0f0f0f0f0f0", before):
            with engine.begin() as connection:
                connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{revision}'")
            # Another address of the same database: MLflow keeps what it has opened.
            lines[revision] = said(f"{uri}?{other}={revision}", tmp_path)
        engine.dispose()
    shown = re.sub("//.*@", "//", uri)
    assert lines == {
        "f0f0f0f0f0f0": f"its schema (f0f0f0f0f0f0) is of a newer MLflow than {MLFLOW}; install that version here",
        before: f"its schema ({before}) is older than that of MLflow {MLFLOW}; after a backup, `mlflow db upgrade "
        f"'{shown}?{other}={before}'` upgrades it",
    }


# Runs in a mount namespace of its own, in a folder that is a file system of 2 MB.
ON_A_SMALL_DISK = """
import json, multiprocessing, os, subprocess
from pathlib import Path
import mlflow.store.tracking.sqlalchemy_store
from stages.errors import UserError
from tests.test_stores import runs, stores

def said():  # in a process of its own, which leaves no file open
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(publish)

def publish():
    try:
        return runs(stores.Store(f"sqlite:///{top}/mlflow.db", top))
    except UserError as error:
        return str(error).replace(str(top), "TOP")

def fill(left):
    Path(top, "filler").write_bytes(b"x" * (os.statvfs(top).f_bavail * os.statvfs(top).f_frsize - left))

top, found = Path.cwd(), {}
for left in (0, 300_000, 900_000):
    fill(left)
    found[f"full {left}"] = said()
    os.unlink("filler")
found["room"] = said()
subprocess.run(["mount", "-o", "remount,ro", "."], check=True)
found["read-only"] = said()
subprocess.run(["mount", "-o", "remount,rw", "."], check=True)
found["again"] = said()
print(json.dumps(found))
"""


def test_a_full_disk_and_a_read_only_one_are_said(tmp_path: Path) -> None:
    mount = 'mount -t tmpfs -o size=2m tmpfs "$1" && cd "$1" && exec "$2" -W ignore -c "$3"'
    unshare = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
    done = subprocess.run(
        [*unshare, "sh", "-c", mount, "sh", str(tmp_path), sys.executable, ON_A_SMALL_DISK],
        env={**os.environ, "PYTHONPATH": str(PROJECT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "unshare" in done.stderr and not os.environ.get("CI"):
        pytest.skip("no namespaces for mounts here")
    assert done.returncode == 0, done.stderr
    after = "; the trial is kept; `dvc repro register` publishes it once that is mended"
    full = f"MLflow at sqlite:///TOP/mlflow.db: database or disk is full; make room{after}"
    assert json.loads(done.stdout) == {
        "full 0": full,
        "full 300000": full,
        "full 900000": full,
        "room": [list(WHOLE[0])],
        "read-only": f"MLflow at sqlite:///TOP/mlflow.db: it is read-only; see who owns the file and its folder{after}",
        "again": [list(WHOLE[0])],
    }
