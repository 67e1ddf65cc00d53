"""`trialtree ui`: the page of the right store, served once, and nothing left when it ends."""

import json
import os
import re
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Repo
from tests.postgres import database


@contextmanager
def ui(repo: Repo, *options: str, folder: str = ".", **env: str) -> Iterator["subprocess.Popen[str]"]:
    """Start `trialtree ui` in a process group of its own, which is killed at the end."""
    process = subprocess.Popen(
        ["trialtree", "ui", "--port", "0", *options], cwd=repo.path / folder, env={**repo.env, **env},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def line(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """Return the next line that it says: an address, and the rest."""
    assert process.stdout
    said = process.stdout.readline()
    address, _, rest = said.rstrip("\n").partition("  ")
    assert address.startswith("http://"), said + process.stdout.read()
    return address, rest


def end(process: "subprocess.Popen[str]", number: signal.Signals) -> tuple[int, str, bool]:
    """Send a signal; return the exit status, what was said, and whether a process is left."""
    process.send_signal(number)
    said = process.communicate(timeout=30)[0]
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return process.returncode, said, False
    return process.returncode, said, True


def experiments(address: str) -> list[str]:
    with urllib.request.urlopen(
        f"{address}/ajax-api/2.0/mlflow/experiments/search?max_results=9", timeout=30
    ) as answer:
        found: dict[str, Any] = json.load(answer)
    return sorted(experiment["name"] for experiment in found["experiments"])


def test_the_page_of_the_repository_is_served_once_from_any_folder(ran: Repo, tmp_path: Path) -> None:
    ran.git("worktree", "add", "-q", "../tree", "-b", "other")
    tree = Repo(ran.path.parent / "tree", ran.env)
    browser = tmp_path / "browser"
    browser.write_text(
        f'#!/bin/sh\necho "$1" > {tmp_path}/opened.partial && mv {tmp_path}/opened.partial {tmp_path}/opened\n'
    )
    browser.chmod(0o755)
    with ui(tree, folder="stages", BROWSER=f"{browser} %s") as process:
        address, rest = line(process)
        assert rest == f"(sqlite:///{ran.path}/mlflow.db; Ctrl-C ends it)"
        assert experiments(address) == ["Default", "iris"]
        with urllib.request.urlopen(address, timeout=30) as page:
            assert b"<!doctype html>" in page.read()
        again = ran.run("trialtree", "ui", "--no-browser")
        assert again.stdout == f"{address}  (sqlite:///{ran.path}/mlflow.db, served already)\n"
        elsewhere = ran.run("trialtree", "ui", MLFLOW_TRACKING_URI=address.replace("//", "//me:planted@"))
        assert (elsewhere.stdout, elsewhere.stderr) == (f"{address}\n", "")
        assert end(process, signal.SIGINT) == (0, "", False)
    assert (tmp_path / "opened").read_text() == f"{address}\n"
    assert ran.git("status", "--porcelain") == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_however_it_ends_nothing_is_left_and_the_port_is_free(number: signal.Signals, repo: Repo) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, ui(repo, "--port", str(other.getsockname()[1])) as process:
        assert process.stdout
        taken = re.fullmatch(r"port (\d+) is taken; (\d+) is free\n", process.stdout.readline())
        assert taken
        address, _ = line(process)
        assert address == f"http://127.0.0.1:{taken[2]}"
        assert experiments(address) == ["Default"]  # made, as it was not there
        assert end(process, number) == (-number, "", False)
    socket.create_server(("127.0.0.1", int(taken[2]))).close()


def test_a_database_is_served_and_its_password_kept(ran: Repo) -> None:
    with database("ui") as uri:
        ran.run("python", "-m", "stages.register", MLFLOW_TRACKING_URI=uri)
        assert (ran.path / "mlruns").exists() is False
        with ui(ran, "--no-browser", MLFLOW_TRACKING_URI=uri) as process:
            address, rest = line(process)
            assert rest == f"({re.sub('//.*@', '//', uri)}; Ctrl-C ends it)"
            assert experiments(address) == ["Default", "iris"]
            assert end(process, signal.SIGINT) == (0, "", False)


@pytest.mark.parametrize(
    ("options", "uri", "said"),
    [
        (["--host", "192.0.2.1"], None, "--host 192.0.2.1: Cannot assign requested address; it must be an address of "
         "this machine"),
        ([], "databricks", "MLflow at databricks has no page that trialtree could open; open it where you log in "
         "to it"),
        ([], "http://me:planted@127.0.0.1:9", "MLflow at http://127.0.0.1:9: cannot be reached (ConnectionError); "
         "`trialtree ui` shows it once that is mended"),
        ([], "damaged", "MLflow at sqlite:///TOP/mlflow.db: file is not a database; move the file away, and "
         "`trialtree track --all` makes it anew; `trialtree ui` shows it once that is mended"),
    ],
)  # fmt: skip
def test_a_page_that_cannot_be_shown_is_one_line(options: list[str], uri: str | None, said: str, repo: Repo) -> None:
    env = {"MLFLOW_TRACKING_URI": uri} if uri and uri != "damaged" else {}
    if uri == "damaged":
        (repo.path / "mlflow.db").write_text("no database, " * 100)
    done = repo.run("trialtree", "ui", *options, check=False, **env)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said.replace("TOP", str(repo.path)) + "\n")
