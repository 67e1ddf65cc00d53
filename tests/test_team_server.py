"""The team server of docs/tracking.md: its commands are taken from the page and run, and a team works with it."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
import sqlalchemy as sa

from tests.conftest import PROJECT, Repo, make_repo
from tests.postgres import POSTGRES, postgres
from tests.servers import CREDENTIALS, S3, Line, line_to

PAGE = (PROJECT / "docs/tracking.md").read_text(encoding="utf-8").partition("## A team server")[2].partition("\n## ")[0]
ASKED = re.findall(r"^([A-Z_]+)=", re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)[0], re.MULTILINE)
COMMANDS = [line.removeprefix("$ ") for line in PAGE.splitlines() if line.startswith("$ ")]
ADMIN, ADA = "planted-of-admin", "planted-of-ada"


@dataclass
class Server:
    """The server's machine."""

    folder: Path
    env: Mapping[str, str]
    address: str

    def run(self, command: str) -> None:
        """Run a command of the page."""
        done = subprocess.run(
            ["bash", "-euc", command], cwd=self.folder, env=self.env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"

    @contextmanager
    def up(self, command: str) -> Iterator[Callable[[], None]]:
        """Run the command that stays, until the block ends or calls what it is given; then kill all of it."""
        with (
            (self.folder / "server.log").open("ab") as log,
            subprocess.Popen(
                ["bash", "-euc", command], cwd=self.folder, env=self.env, stdout=log, stderr=log, start_new_session=True
            ) as process,
        ):

            def kill() -> None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

            try:
                self.wait(process)
                yield kill
            finally:
                kill()

    def wait(self, process: "subprocess.Popen[bytes]") -> None:
        """Wait until it answers."""
        until = time.monotonic() + 120
        while time.monotonic() < until and process.poll() is None:
            with suppress(requests.RequestException):
                if requests.get(f"{self.address}/health", timeout=5).ok:
                    return
            time.sleep(0.2)
        pytest.fail((self.folder / "server.log").read_text(encoding="utf-8"))


@pytest.fixture
def server(tmp_path: Path, s3: S3) -> Iterator[Server]:
    """The machine on which the page's commands are run, with what they ask for."""
    if not shutil.which("psql"):
        (pytest.fail if os.environ.get("CI") else pytest.skip)("psql is not there")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    name = f"team_{os.getpid()}"
    given = {
        "POSTGRES": POSTGRES.rpartition("/")[0].replace("+psycopg", ""), "NAME": name, "PORT": port,
        "BUCKET": f"s3://{s3.bucket('team')}/mlflow", "ADMIN_PASSWORD": ADMIN, "SECRET": "planted",
        "USER_PASSWORD": ADA,
    }  # fmt: skip
    assert sorted(given) == sorted(ASKED)
    folder = tmp_path / "machine"
    folder.mkdir()
    shutil.copy(PROJECT / "requirements.lock", folder)
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MLFLOW_", "DVC_"))}
    env = {**own, **given, **CREDENTIALS, "MLFLOW_S3_ENDPOINT_URL": s3.url}
    engine = postgres().execution_options(isolation_level="AUTOCOMMIT")
    try:
        yield Server(folder, env, f"http://127.0.0.1:{port}")
    finally:
        with engine.connect() as connection:
            for database in (name, f"{name}_users"):
                connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")


def held(server: Server) -> dict[str, list[tuple[object, ...]]]:
    """Return what the server's database holds."""
    engine = sa.create_engine(f"{POSTGRES.rpartition('/')[0]}/{server.env['NAME']}", poolclass=sa.NullPool)
    asked = {
        "runs": "SELECT status FROM runs WHERE lifecycle_stage = 'active'",
        "versions": "SELECT name, version FROM model_versions ORDER BY version",
    }
    with engine.connect() as connection:
        return {name: [tuple(row) for row in connection.exec_driver_sql(query)] for name, query in asked.items()}


def as_ada(repo: Repo, address: str, password: str = ADA) -> Repo:
    """Return the repository in the shell of a user."""
    mine = {"MLFLOW_TRACKING_URI": address, "MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": password}
    return Repo(repo.path, {**repo.env, **mine})


@pytest.mark.slow
def test_a_team_publishes_to_the_server_of_the_page(server: Server, s3: S3, tmp_path: Path) -> None:
    install, databases, users, serve, create_user = COMMANDS
    for command in (install, databases, users):
        server.run(command)
    repo = make_repo(tmp_path / "repo", tmp_path / "home")
    one = {"runs": [("FINISHED",)], "versions": [("iris", 1)]}
    with server.up(serve) as kill:
        server.run(create_user)
        assert requests.get(f"{server.address}/api/2.0/mlflow/users/current", timeout=30).status_code == 401
        publishes_and_registers(repo, server, s3)
        assert held(server) == one
        refuses_a_wrong_password(repo, server.address)
        assert held(server) == one
        repo.params({"train.hyperparameters.C": 0.5})
        repo.dvc("repro", "evaluate")
        with line_to(server.address) as line:
            line.stop_after(20_000)
            said = killed_in_the_middle(as_ada(repo, line.address), line, kill)
            assert f"\nMLflow at {line.address}: cannot be reached (ConnectionError); the trial is kept" in said
            assert "Traceback" not in said
    with server.up(serve):
        assert len(held(server)["runs"]) == 2
        as_ada(repo, server.address).dvc("repro", "register")
        as_ada(repo, server.address).dvc("repro", "register")
        assert held(server) == {"runs": [("FINISHED",)] * 2, "versions": [("iris", 1), ("iris", 2)]}


def publishes_and_registers(repo: Repo, server: Server, s3: S3) -> None:
    """A user's `dvc repro` ends with a run and a version there, and their files in the bucket."""
    ada = as_ada(repo, server.address)
    assert "registered: iris version 1 (challenger, champion)" in ada.dvc("repro").stdout
    ada.commit("Run")
    assert "is added to iris version 1" in ada.run("trialtree", "track").stdout
    assert ada.run("trialtree", "ui", "--no-browser").stdout == f"{server.address}\n"
    report = json.loads((repo.path / "reports/register.json").read_text(encoding="utf-8"))
    assert report["tracking_uri"] == server.address
    keys = [key for key in s3.keys("team") if key.startswith("mlflow/")]
    assert [key for key in keys if key.endswith(f"{report['run_id']}/artifacts/params.yaml")]
    assert [key for key in keys if key.endswith("/estimator.skops")]
    assert not (repo.path / "mlartifacts").exists()


def refuses_a_wrong_password(repo: Repo, address: str) -> None:
    """One line and status 1."""
    line = (
        f"MLflow at {address}: the server asks for a user and a password, and refuses these (401); set "
        "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD; "
    )
    for command in (("python", "-m", "stages.register"), ("trialtree", "track")):
        done = as_ada(repo, address, "planted-but-wrong").run(*command, check=False)
        assert (done.returncode, done.stderr.count("\n"), done.stderr[: len(line)]) == (1, 1, line), done.stderr


def killed_in_the_middle(repo: Repo, line: Line, kill: Callable[[], None]) -> str:
    """Start to publish, kill the server when the line stops; return what was said."""
    with subprocess.Popen(
        ["dvc", "repro", "register"], cwd=repo.path, env=repo.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    ) as process:  # fmt: skip
        assert line.stopped.wait(120)
        kill()
        line.go_on.set()
        said = process.communicate(timeout=120)[0]
        assert process.returncode != 0
    return said
