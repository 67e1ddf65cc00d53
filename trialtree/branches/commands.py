"""Git and DVC as commands, and the lock that keeps two of ours apart."""

import fcntl
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from stages.errors import UserError
from trialtree.tracking import git as asked

_LOCK = Path(".dvc/tmp/trialtree.lock")
_HELD = re.compile(r"Unable to create '(.+\.lock)': File exists")


class CommandError(UserError):
    """A command that could not do what it was asked for."""


class StoppedError(UserError):
    """Ctrl-C."""


@contextmanager
def alone() -> Iterator[int]:
    """Keep every other start, run and finish out of this working tree until the block ends; yield the lock's file.

    Raises:
        CommandError: another one is at work.
    """
    if not _LOCK.parent.parent.is_dir():
        raise CommandError(f"{_LOCK.parent.parent} is not here; `dvc init` makes it")
    _LOCK.parent.mkdir(exist_ok=True)
    with _LOCK.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CommandError("another trialtree command is at work in this folder; wait until it ends") from None
        yield file.fileno()


def git(*args: str, env: Mapping[str, str] | None = None) -> str:
    """Return what a git command printed.

    Raises:
        CommandError: it failed; the line is what Git says, without credentials.
    """
    done = attempt(*args, env=env)
    if done.returncode:
        raise CommandError(f"git {args[0]}: {reason(done)}")
    return done.stdout.removesuffix("\n")


def attempt(*args: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a git command and return how it ended."""
    kept = {name: value for name, value in os.environ.items() if name not in asked._HOOK}
    try:
        return subprocess.run(
            ["git", *args], env={**kept, "LC_ALL": "C", **(env or {})}, capture_output=True, text=True,
            encoding="utf-8", errors="surrogateescape", check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise CommandError("git is not on PATH") from None


def reason(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one line of a failed command that says most, without credentials."""
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    for held in filter(None, map(_HELD.search, lines)):
        return _in_the_way(held[1])
    telling = [line for line in lines if line.startswith(("fatal:", "error:", "! [", "remote: error"))] or lines
    text = telling[0] if telling else f"exit status {done.returncode}"
    text = text.removeprefix("fatal: ").removeprefix("error: ")
    return " ".join(asked.without_credentials(word) for word in text.split())


def check_unlocked(branch: str) -> None:
    """Stop before the pipeline runs where a commit could not be made after it.

    Raises:
        CommandError: a file is there by which Git locks what a commit changes, and it stays.
    """
    names = ("index.lock", "HEAD.lock", f"refs/heads/{branch}.lock")
    paths = git("rev-parse", *(word for name in names for word in ("--git-path", name))).splitlines()
    for path in paths:
        for _ in range(20):  # a git at work is done in two seconds; an editor's looks often
            if not Path(path).exists():
                break
            time.sleep(0.1)
        else:
            raise CommandError(_in_the_way(path))


def _in_the_way(path: str) -> str:
    """Return the line about a file that locks; it names no process, so nothing proves that the one it is of is gone."""
    return f"{os.path.relpath(path)} is there: another git is at work, or was killed; when none runs, delete that file"


def dvc(*args: str, lock: int | None = None) -> int:
    """Run dvc where its output goes to the terminal, and return its exit status.

    With `lock` it holds our lock too, so that it is not joined by another when we are killed.

    Raises:
        StoppedError: Ctrl-C, which dvc has had as well.
    """
    process = subprocess.Popen([sys.executable, "-m", "dvc", *args], pass_fds=() if lock is None else (lock,))
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.wait()
        raise StoppedError(
            "stopped; what was finished is kept, nothing is committed; the same command goes on"
        ) from None


def branch() -> str:
    """Return the branch that is checked out.

    Raises:
        CommandError: HEAD is detached, there is no commit, or a merge, rebase or cherry-pick is under way.
    """
    asked.head()
    name = asked.branch()
    if name is None:
        raise CommandError("HEAD is detached, and a trial is committed on a branch: `git switch BRANCH`, or "
                           "`trialtree start NAME` to make one here")  # fmt: skip
    return name


def merging() -> str | None:
    """Return the commit that is being merged in, if a merge is under way."""
    return asked.run("rev-parse", "--verify", "--quiet", "MERGE_HEAD")


def commit_of(revision: str) -> str | None:
    """Return the commit that a revision names, or None."""
    return asked.run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")


def listed(paths: Sequence[str]) -> str:
    """Return the first of some paths for a message."""
    return ", ".join(paths[:5]) + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")
