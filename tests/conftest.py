"""What tests share: real repositories in temporary folders, with a home and caches of their own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.postgres import database
from tests.servers import S3, s3_server
from tests.slow import SLOW

PROJECT = Path(__file__).resolve().parent.parent
SHARED = PROJECT.parent / "shared" / "data"
KEPT = [
    ".dvc/config", ".dvc/.gitignore", ".dvc/plots", ".dvcignore", ".gitattributes", ".gitignore", "dvc.yaml",
    "params.yaml", "pyproject.toml", "requirements.lock", "stages", "trialtree",
]  # fmt: skip
YAML_12 = YAML()


def shared(name: str) -> Path:
    """Return a real table of the project's shared folder, or skip where it is absent."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"the shared table {name} is not on this machine")
    return path


@dataclass(frozen=True)
class Repo:
    """A trialtree repository in a folder of its own."""

    path: Path
    env: Mapping[str, str]

    def run(self, *command: str, check: bool = True, **extra_env: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the repository; a failure shows what it printed."""
        done = subprocess.run(
            command, cwd=self.path, env={**self.env, **extra_env}, capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            pytest.fail(f"{command} exited {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def dvc(self, *args: str, check: bool = True, **extra_env: str) -> subprocess.CompletedProcess[str]:
        """Run dvc."""
        return self.run("dvc", *args, check=check, **extra_env)

    def git(self, *args: str) -> str:
        """Run git, and return what it printed."""
        return self.run("git", *args).stdout.strip()

    def stage(self, name: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one stage as DVC does, without DVC."""
        return self.run("python", "-m", f"stages.{name}", check=check)

    def params(self, changes: Mapping[str, Any]) -> None:
        """Set dotted keys of params.yaml; `...` removes a key."""
        path = self.path / "params.yaml"
        content = YAML_12.load(path.read_text(encoding="utf-8"))
        for dotted, value in changes.items():
            *parents, name = dotted.split(".")
            inner = content
            for parent in parents:
                inner = inner.setdefault(parent, {})
            if value is ...:
                inner.pop(name, None)
            else:
                inner[name] = value
        with path.open("w", encoding="utf-8") as file:
            YAML_12.dump(content, file)

    def commit(self, message: str = "Change") -> str:
        """Commit everything, and return the commit."""
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)
        return self.git("rev-parse", "HEAD")


def isolated(home: Path) -> dict[str, str]:
    """Return an environment with this Python first on PATH and nothing of the user's own."""
    kept = {k: v for k, v in os.environ.items() if k in {"LANG", "LC_ALL", "TMPDIR", "CI", "OPENBLAS_CORETYPE"}}
    return {
        **kept,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "DVC_SITE_CACHE_DIR": str(home / "site"),
        "DVC_GLOBAL_CONFIG_DIR": str(home / "global"),
        "DVC_SYSTEM_CONFIG_DIR": str(home / "system"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "Test", "GIT_AUTHOR_EMAIL": "test@example.org",
        "GIT_COMMITTER_NAME": "Test", "GIT_COMMITTER_EMAIL": "test@example.org",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip


def make_repo(path: Path, home: Path) -> Repo:
    """Copy the project's files to `path` and commit them on main."""
    path.mkdir(parents=True)
    home.mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        source, target = PROJECT / name, path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            # With what Python has compiled, 0.4 s of each test, but not what another test's Python just compiles.
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.pyc.*"))
        else:
            shutil.copy(source, target)
    repo = Repo(path, isolated(home))
    repo.git("init", "-q", "-b", "main")
    repo.commit("Start")
    return repo


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    """A fresh repository with the iris params, nothing run yet."""
    return make_repo(tmp_path / "repo", tmp_path / "home")


@pytest.fixture
def there(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> Repo:
    """Stand in a fresh repository, with its environment."""
    monkeypatch.chdir(repo.path)
    for name in set(os.environ) - set(repo.env):
        monkeypatch.delenv(name)
    for name, value in repo.env.items():
        monkeypatch.setenv(name, value)
    return repo


@pytest.fixture(scope="session")
def ran_once(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """A repository in which `dvc repro` has run on iris; for reading only."""
    folder = tmp_path_factory.mktemp("ran")
    repo = make_repo(folder / "repo", folder / "home")
    repo.dvc("repro")
    repo.commit("Run")
    return repo


@pytest.fixture
def ran(ran_once: Repo, tmp_path: Path) -> Repo:
    """A copy of such a repository, to change."""
    shutil.copytree(ran_once.path.parent, tmp_path, dirs_exist_ok=True, symlinks=True)
    return Repo(tmp_path / "repo", isolated(tmp_path / "home"))


@pytest.fixture
def slow(repo: Repo) -> Callable[..., Repo]:
    """Return a function that makes a repository with an estimator that is fitted until a file `enough` is there."""

    def make(**hyperparameters: Any) -> Repo:
        (repo.path / "stages/slow.py").write_text(SLOW, encoding="utf-8")
        repo.params({
            "train.estimator": "stages.slow.Slow",
            "train.hyperparameters": {"enough": str(repo.path / "enough"), **hyperparameters},
            "train.allow_pickle": True,
            "evaluate": {},
        })  # fmt: skip
        repo.stage("fetch")
        repo.stage("split")
        return repo

    return make


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Path]:
    """Stand in an empty temporary folder."""

    def enter() -> Path:
        monkeypatch.chdir(tmp_path)
        return tmp_path

    return enter


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    """A server that speaks S3, for all tests of a process; each takes a bucket of its own."""
    with s3_server() as server:
        yield server


@pytest.fixture
def postgresql() -> Iterator[str]:
    """The address of a new and empty database of PostgreSQL."""
    with database("trialtree_test") as address:
        yield address
