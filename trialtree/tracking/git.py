"""What Git says of the repository that a trial stands in."""

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from stages.errors import UserError

# Set while a hook runs: they would name another repository than the folder asked about.
_HOOK = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX")

_NO_GIT = "git is not on PATH; a trial is told by its commit"


class GitError(UserError):
    """A repository that a trial cannot be told from."""


@dataclass(frozen=True)
class Change:
    """A file that differs from HEAD, or that Git does not know; its path starts at the top of the working tree."""

    path: str
    tracked: bool


def run(*args: str, cwd: Path | None = None, given: str | None = None) -> str | None:
    """Return what a git command printed, or None where it failed; `given` is what it reads.

    Raises:
        GitError: there is no git.
    """
    try:
        done = subprocess.run(
            ["git", *args], cwd=cwd, env=_environment(), capture_output=True, check=False,
            input=None if given is None else os.fsencode(given),
        )  # fmt: skip
    except FileNotFoundError:
        raise GitError(_NO_GIT) from None
    return None if done.returncode else os.fsdecode(done.stdout).removesuffix("\n")


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _HOOK}


class Objects:
    """The objects of the repository, read one by one from one `git cat-file`."""

    def __init__(self, asked: IO[bytes], said: IO[bytes]) -> None:
        self._asked, self._said = asked, said

    def read(self, name: str) -> bytes | None:
        """Return the content of `COMMIT`, `COMMIT:./path` or any other object name; None where there is none."""
        self._asked.write(os.fsencode(name) + b"\n")
        self._asked.flush()
        header = self._said.readline().split()
        if len(header) != 3 or not header[2].isdigit():  # "missing", "ambiguous"
            return None
        content = self._said.read(int(header[2]))
        self._said.read(1)
        return content


def names(asked: Sequence[str]) -> list[str | None]:
    """Return the hash of each of some objects, named as `Objects.read` takes them; None where there is none."""
    said = run("cat-file", "--batch-check", given="".join(f"{name}\n" for name in asked)) or ""
    fields = [line.split() for line in said.splitlines()]
    return [found[0] if len(found) == 3 and found[2].isdigit() else None for found in fields]


@contextmanager
def objects() -> Iterator[Objects]:
    """Yield the objects of the repository around the working folder.

    Raises:
        GitError: there is no git.
    """
    try:
        process = subprocess.Popen(
            ["git", "cat-file", "--batch"],
            env=_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except FileNotFoundError:
        raise GitError(_NO_GIT) from None
    with process:
        assert process.stdin  # noqa: S101  # they are pipes
        assert process.stdout  # noqa: S101  # the same
        yield Objects(process.stdin, process.stdout)


def shared_top(folder: Path) -> Path:
    """Return the folder that all working trees of a repository share: the top of the main one.

    A bare repository has no working tree: then it is the repository itself.

    Raises:
        GitError: `folder` is in no repository.
    """
    asked = ("--git-dir", "--git-common-dir", "--show-toplevel")
    said = run("rev-parse", "--path-format=absolute", *asked, cwd=folder)
    if said is None:
        raise GitError(f"{folder} is in no Git repository that can be used; make one: `git init`, then commit")
    own, common, top = (Path(line) for line in said.split("\n"))
    if own == common:
        return top
    return common.parent if common.name == ".git" else common


def head() -> str:
    """Return the commit that is checked out.

    Raises:
        GitError: there is none yet.
    """
    commit = run("rev-parse", "--verify", "--quiet", "HEAD")
    if commit is None:
        raise GitError("the Git repository has no commit yet, and a trial is told by its commit: `git commit` first")
    return commit


def branch() -> str | None:
    """Return the branch that is checked out; None for a detached HEAD."""
    return run("symbolic-ref", "--quiet", "--short", "HEAD")


def prefix() -> str:
    """Return the working folder, from the top of the working tree; empty at the top."""
    return run("rev-parse", "--show-prefix") or ""


def changes() -> list[Change]:
    """Return the files that differ from HEAD, and those that Git does not know and does not ignore."""
    said = run("status", "--porcelain", "-z", "--no-renames", "--untracked-files=all") or ""
    lines = [line for line in said.split("\0") if line]
    return [Change(line[3:], line[:2] != "??") for line in lines]


def author() -> str | None:
    """Return the name that Git would give a commit's author now; None where it knows none."""
    said = run("var", "GIT_AUTHOR_IDENT")
    return said.rpartition(" <")[0] or None if said else None


def origin() -> str | None:
    """Return the address of the remote `origin` without credentials."""
    address = run("config", "--get", "remote.origin.url")
    return without_credentials(address) if address else None


def without_credentials(address: str) -> str:
    """Return an address without the user and password before its host; `git@host:path` has none."""
    return re.sub(r"(?<=://)[^/@]*@(?=[^@]*$)|(?<=://)[^/]*@(?=[^/@]+(/|$))", "", address)
