"""Worktrees that trials run in: in the same places again and again, since DVC keeps state of each place for ever.

.dvc/tmp/trialtree/trees/0, 1, …; each with a lock beside it, held as long as a
sweep uses it. What a killed one left is taken over, and needs no repair.
"""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from trialtree.sweep.engine.snapshot import Snapshot, refusal
from trialtree.sweep.journal import SWEEPS, SweepError

_FOLDER = SWEEPS.parent / "trees"
_MOST = 1000  # that are looked at


class Trees:
    """The worktrees of one sweep."""

    def __init__(self, top: Path, of: Snapshot) -> None:
        self._top, self._snapshot = top, of
        self._held: list[tuple[Path, IO[str]]] = []

    def take(self, count: int) -> list[Path]:
        """Return so many worktrees at the snapshot: the folders of the DVC repository in them."""
        folder = self._top / _FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(_MOST):
            if len(self._held) == count:
                break
            if (lock := _locked(folder / str(number))) is not None:
                self._held.append((folder / str(number), lock))
                _at(folder / str(number), self._snapshot)
        return [path / self._snapshot.prefix if self._snapshot.prefix else path for path, _ in self._held]

    def close(self) -> None:
        """Remove the worktrees, and let others take their places."""
        for path, lock in self._held:
            _remove(path, lock)
        self._held.clear()


def tidy(top: Path) -> None:
    """Remove what killed sweeps left: worktrees that nobody holds."""
    with suppress(FileNotFoundError):
        for path in (top / _FOLDER).iterdir():
            if path.suffix != ".lock" and (lock := _locked(path)) is not None:
                _remove(path, lock)


def _locked(path: Path) -> IO[str] | None:
    """Return the lock of a worktree, taken; None where another sweep has it."""
    while True:
        lock = path.with_name(f"{path.name}.lock").open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Another may have removed the file since it was opened: then whoever makes it anew would have it too.
            if os.fstat(lock.fileno()).st_ino == Path(lock.name).stat().st_ino:
                return lock
        except FileNotFoundError:
            pass
        except BlockingIOError:
            lock.close()
            return None
        lock.close()


def _remove(path: Path, lock: IO[str]) -> None:
    """Remove a worktree and its lock; Git's note of it alone, for another's worktree may be away with its disk."""
    with suppress(SweepError):
        _git("worktree", "remove", "--force", "--force", str(path), at=path.parent)
    if path.exists():  # half made, so that Git refused
        shutil.rmtree(path, ignore_errors=True)
        with suppress(SweepError):
            _git("worktree", "remove", "--force", "--force", str(path), at=path.parent)
    Path(lock.name).unlink(missing_ok=True)
    lock.close()


def _at(path: Path, of: Snapshot) -> None:
    """Bring a worktree to the snapshot, made where it is not there; other files in it go, DVC's own apart."""
    if not (path / ".git").exists():
        shutil.rmtree(path, ignore_errors=True)
        _git("worktree", "add", "--force", "--no-checkout", "--detach", str(path), of.baseline, at=path.parent)
    for lock in (_git_folder(path) / name for name in ("index.lock", "HEAD.lock")):
        lock.unlink(missing_ok=True)  # of a process that was killed: the tree is ours alone
    _git("read-tree", "--reset", "-u", of.tree, at=path)
    _git("update-ref", "--no-deref", "HEAD", of.baseline, at=path)
    _git("clean", "-ffdxq", "-e", "/.dvc/tmp", "-e", "__pycache__", at=path)


def _git_folder(path: Path) -> Path:
    return Path((path / ".git").read_text(encoding="utf-8").removeprefix("gitdir: ").strip())


def clean(path: Path, of: Snapshot, kept: Sequence[str]) -> None:
    """Take away what a command of the user's left in a worktree; `kept` are paths that stay."""
    _git("read-tree", "--reset", "-u", of.tree, at=path)
    excluded = [part for name in (".dvc/tmp", ".dvc/config.local", "__pycache__", *kept) for part in ("-e", f"/{name}")]
    _git("clean", "-ffdxq", "-e", "__pycache__", *excluded, at=path)


def written(path: Path, files: Sequence[str]) -> str:
    """Return Git's tree of all tracked files of a worktree as they stand, and of these files."""
    _git("add", "--update", ":/", at=path)
    _git("add", "--force", "--", *files, at=path)
    return _git("write-tree", at=path).strip()


def _git(*arguments: str, at: Path) -> str:
    """Return what git prints in a folder.

    Raises:
        SweepError: it refuses.
    """
    # No hook of the user's runs for a worktree that the user does not see, and lines end as DVC writes them there.
    settings = "-c", f"core.hooksPath={os.devnull}", "-c", "core.autocrlf=false"
    done = subprocess.run(
        ["git", *settings, "-C", str(at), *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SweepError(refusal(arguments[0], done))
    return done.stdout
