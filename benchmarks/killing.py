"""Kill a command at a moment, repeat it once, and say in what the repository differs from an undisturbed one."""

import hashlib
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.conftest import Repo

State = dict[str, str]  # what there is, and what it holds
Phases = Sequence[tuple[str, Callable[[Repo], bool]]]  # each from when on, by what is on disk; the last that holds

_BY_HAND = "delete that file"  # of the one line after which a person has to act
_PASSING = (".dvc/tmp/", ".git/", "mlflow.db", "mlartifacts/")
# Columns of MLflow's that two equal runs share.
_TABLES = {
    "experiments": "name, lifecycle_stage",
    "runs": "name, status, lifecycle_stage",
    "params": "key, value",
    "latest_metrics": "key, value",
    "tags": "key, value",
    "datasets": "name, digest, dataset_source",
    "input_tags": "name, value",
    "registered_models": "name",
    "registered_model_aliases": "name, alias, version",
    "model_versions": "name, version, status, status_message",
    "logged_models": "name, status, lifecycle_stage",
    "logged_model_tags": "tag_key, tag_value",
    "model_version_tags": "name, version, key, value",
}


@dataclass(frozen=True)
class Case:
    """A command to kill, in a folder that is put back for each kill."""

    name: str
    command: Sequence[str]
    repo: Repo
    phases: Phases
    outside: Callable[[], State] = dict  # what there is elsewhere
    reset: Callable[[], None] = lambda: None  # puts back what is elsewhere
    kept: list[Path] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """The folder with the repository, the home, and all that is put back."""
        return self.repo.path.parent

    def keep(self) -> None:
        """Remember the folder as it is now, as that to begin with."""
        self.kept[:] = [self.folder.with_name(f"{self.folder.name}-kept-{self.name}")]
        shutil.rmtree(self.kept[0], ignore_errors=True)
        subprocess.run(["cp", "-a", self.folder, self.kept[0]], check=True)

    def put_back(self) -> None:
        """Make the folder what it was."""
        shutil.rmtree(self.folder)
        subprocess.run(["cp", "-a", self.kept[0], self.folder], check=True)
        self.reset()

    def phase(self) -> str:
        """Say how far the command has come."""
        return [name for name, reached in self.phases if reached(self.repo)][-1]


@dataclass(frozen=True)
class Kill:
    """What came of one."""

    seconds: float
    phase: str
    repeat: float  # seconds of the repeat
    by_hand: bool  # a line told the person to delete a file first
    differences: list[str]


def run(case: Case, seconds: float | None = None, when: Callable[[], bool] | None = None) -> tuple[int | None, str]:
    """Run the command; its exit status, None where it was killed after these seconds or when asked for; what it said.

    Raises:
        RuntimeError: its processes do not die.
    """
    log = case.folder / "said.txt"
    with log.open("wb") as said:
        process = subprocess.Popen(
            case.command, cwd=case.repo.path, env=case.repo.env, stdout=said, stderr=said, start_new_session=True
        )
        end = None if seconds is None else time.perf_counter() + seconds
        while process.poll() is None:
            if (end is not None and time.perf_counter() >= end) or (when is not None and when()):
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                _buried(process.pid)
                return None, log.read_text(errors="replace")
            time.sleep(0.001)
    return process.returncode, log.read_text(errors="replace")


def _buried(group: int) -> None:
    """Wait until no process of a group can write any more."""
    import psutil

    for _ in range(1000):
        alive = False
        for process in psutil.process_iter():
            try:
                alive |= os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
            except (ProcessLookupError, psutil.NoSuchProcess):
                continue
        if not alive:
            return
        time.sleep(0.01)
    raise RuntimeError(f"processes of the group {group} do not die")


def undisturbed(case: Case) -> tuple[float, State]:
    """Return what the command takes when nothing stops it, and what there is afterwards."""
    case.put_back()
    start = time.perf_counter()
    status, said = run(case)
    took = time.perf_counter() - start
    if status:
        raise RuntimeError(f"{case.command} failed undisturbed:\n{said}")
    return took, state(case)


def kill(case: Case, whole: State, seconds: float | None, when: Callable[[], bool] | None = None) -> Kill | float:
    """Kill the command, repeat it once, and compare; where it ended before, return the seconds that it took."""
    case.put_back()
    start = time.perf_counter()
    status, said = run(case, seconds, when)
    if status is not None:
        return time.perf_counter() - start
    at, phase = time.perf_counter() - start, case.phase()
    start = time.perf_counter()
    status, said = run(case)
    named = re.search(rf"(\S+) is there.*{_BY_HAND}", said) if status else None
    if named:
        (case.repo.path / named[1]).unlink()
        status, said = run(case)
    took = time.perf_counter() - start
    wrong = [f"the repeat failed: {said[-2000:]}"] if status else differences(whole, state(case))
    return Kill(at, phase, took, named is not None, wrong)


def differences(whole: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """Return what is missing, too much, or other."""
    return [
        *(f"missing: {name}" for name in sorted(whole.keys() - found.keys())),
        *(f"left behind: {name}" for name in sorted(found.keys() - whole.keys())),
        *(
            f"other: {name}: {found[name]}, not {whole[name]}"
            for name in sorted(whole.keys() & found.keys())
            if found[name] != whole[name]
        ),
    ]


def state(case: Case) -> State:
    """Return all that a run brings about: files by SHA-256, Git's commits, MLflow's rows, and what is elsewhere."""
    return {**_files(case.repo.path), **_git(case.repo), **_mlflow(case.repo.path), **case.outside()}


def sha256(path: Path) -> str:
    """Return a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(top: Path) -> State:
    """Return every file by its SHA-256; one under the name of its MD5 that has another, and every scratch folder."""
    found = {path.relative_to(top).as_posix(): "half-made" for path in top.rglob(".*.partial")}
    for path in top.rglob("*"):
        name = path.relative_to(top).as_posix()
        if path.is_dir() or _passing(name) or _listed_twice(top, path):
            continue
        found[_plain(name)] = sha256(path) if name != "reports/register.json" else _plain(path.read_text())
        if re.fullmatch(r"\.dvc/cache/files/md5/../[0-9a-f]{30}(\.dir)?", name) and _damaged(path):
            found[f"damaged: {name}"] = ""
    return found


def _passing(name: str) -> bool:
    """Say whether a file is no result: what a program keeps for itself, or what is looked at otherwise."""
    if name.startswith(".dvc/tmp/trialtree/sources/"):  # a download that is whole, and nothing else
        return name.endswith(("/.lock", "/source.json"))
    return name.startswith(_PASSING) or "__pycache__/" in name


def _listed_twice(top: Path, path: Path) -> bool:
    """Say whether a file is a folder's list at the place of DVC 2, where DVC 3 may write it again.

    It does so when it takes a stage out of its run cache, killed before or not.
    """
    parts = path.relative_to(top).parts
    if path.suffix != ".dir" or parts[:2] != (".dvc", "cache") or len(parts) != 4:
        return False
    same = top.joinpath(".dvc/cache/files/md5", *parts[2:])
    return same.exists() and same.read_bytes() == path.read_bytes()


def _damaged(path: Path) -> bool:
    """Say whether an object of DVC's has not the MD5 that its name is."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest() != (path.parent.name + path.name).removesuffix(".dir")


def _git(repo: Repo) -> State:
    locks = [path.relative_to(repo.path).as_posix() for path in (repo.path / ".git").rglob("*.lock")]
    return {
        "git log": repo.git("log", "--format=%T %s"),
        "git status": repo.git("status", "--porcelain"),
        "git branch": repo.git("branch", "--list"),
        "git fsck": repo.run("git", "fsck", "--strict", "--no-dangling", "--no-progress").stderr,
        **dict.fromkeys(locks, "a lock"),
    }


def _plain(text: object) -> str:
    """Return a text without the ids and times that differ from run to run."""
    return re.sub(r"\b[0-9a-f]{32}\b|\bm-[0-9a-f]{32}\b", "*", str(text))


def _mlflow(top: Path) -> State:
    if not (top / "mlflow.db").exists():
        return {}
    with closing(sqlite3.connect(top / "mlflow.db")) as database:
        found = {
            f"MLflow {table}": _plain(sorted(database.execute(f"SELECT {columns} FROM {table}").fetchall(), key=str))
            for table, columns in _TABLES.items()
        }
    for path in sorted((top / "mlartifacts").rglob("*")):
        if path.is_file():
            name = _plain(path.relative_to(top).as_posix())
            # MLmodel and what is written beside it hold ids and times. Two folders with an id each are one name here.
            held = "there" if path.name in ("MLmodel", "registered_model_meta") else sha256(path)
            found[name] = " ".join([*found.get(name, "").split(), held])
    return found
