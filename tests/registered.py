"""A repository whose model `iris` is registered twice, and what tests do to its registry."""

import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Repo, isolated, make_repo


def make(folder: Path) -> Repo:
    """Return a repository with two versions: 1 the champion, 2 the challenger."""
    repo = make_repo(folder / "repo", folder / "home")
    repo.dvc("repro")
    repo.params({"train.hyperparameters.C": 0.1, "evaluate": {}})
    repo.dvc("repro")
    repo.commit("Two models")
    return repo


def copy(once: Repo, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    """Return a copy of such a repository, to change; the test stands in it from now on, with its home."""
    shutil.copytree(once.path.parent, folder, dirs_exist_ok=True, symlinks=True)
    repo = Repo(folder / "repo", isolated(folder / "home"))
    monkeypatch.chdir(repo.path)
    for name in set(os.environ) - set(repo.env):
        monkeypatch.delenv(name)
    for name, value in repo.env.items():
        monkeypatch.setenv(name, value)
    return repo


def sql(repo: Repo, statement: str, *given: Any) -> list[Any]:
    """Do something to the repository's own store."""
    with closing(sqlite3.connect(repo.path / "mlflow.db", timeout=30)) as database, database:
        return database.execute(statement, given).fetchall()


def move(repo: Repo, alias: str, version: int) -> None:
    """Let an alias stand at another version."""
    sql(repo, "UPDATE registered_model_aliases SET version = ? WHERE alias = ?", version, alias)


def files(repo: Repo, version: int) -> Path:
    """Return the folder of a version's files."""
    found = sql(
        repo,
        "SELECT l.artifact_location FROM model_versions v JOIN logged_models l ON v.source = 'models:/' || l.model_id "
        "WHERE v.version = ?",
        version,
    )
    return repo.path / "mlartifacts" / str(found[0][0]).partition("/mlartifacts/")[2]


def until(holds: Callable[[], Any], seconds: float = 20) -> Any:
    """Wait until something holds, and return it."""
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end, "it did not come to hold"
        time.sleep(0.01)
    return found
