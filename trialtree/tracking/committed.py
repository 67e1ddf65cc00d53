"""What a commit holds of a trial, told by its dvc.lock: which commit is the trial's own, and which its data's."""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trialtree.tracking import git, history, locks
from trialtree.tracking.locks import LOCK, TrialError

_EXPERIMENTS = "refs/exps/"
# An experiment: its baseline, its name. `dvc exp` keeps other things beside them.
_NAMED = re.compile(r"refs/exps/[0-9a-f]{2}/[0-9a-f]{38,}/(?P<name>.+)")


@dataclass(frozen=True)
class Committed:
    """A trial as a commit has it."""

    commit: str  # the trial's own: the first that has it, on the way back from the one asked about
    key: str
    lock: Mapping[str, Any]
    names: list[str]  # of the DVC experiments that the commit is
    data_commit: str | None  # the first that has its data, on the same way; None where a shallow clone has lost it
    differing: list[str]  # files of the commit that are not those the trial ran with

    @property
    def exact(self) -> bool:
        """Whether a checkout of the commit is all that the trial came from."""
        return not self.differing


def read(commit: str) -> Committed:
    """Return the trial that a commit holds.

    Raises:
        TrialError: the commit has no dvc.lock, or one without a whole trial.
        GitError: there is no git.
    """
    with git.objects() as objects:
        content = history.lock_at(objects, commit)
        if content is None:
            raise TrialError(f"commit {commit[:7]} has no {LOCK}: the pipeline has not run there")
        try:
            lock = locks.read_lock(content)
        except TrialError as error:
            raise TrialError(f"commit {commit[:7]}: {error}") from None
        key, names = locks.content_key(lock), experiments().get(commit, [])
        own = commit if names else history.first(objects, commit, has_key(key)) or commit
        data_commit = history.first(objects, commit, has_data(locks.data(lock)))
        return Committed(own, key, lock, names, data_commit, sorted(_differing(objects, own, lock)))


def has_key(key: str) -> Callable[[bytes], bool]:
    """Return a test whether a dvc.lock holds the trial of a key."""

    def holds(content: bytes) -> bool:
        found = _entries(content)
        return len(found) == len(locks.STAGES) and locks.content_key(found) == key

    return holds


def has_data(data: tuple[str | None, str | None]) -> Callable[[bytes], bool]:
    """Return a test whether a dvc.lock holds the raw table and the split of these hashes."""
    return lambda content: all(data) and locks.data(_entries(content)) == data


def _entries(content: bytes) -> dict[str, Any]:
    """Return a dvc.lock's entries; none of a damaged one."""
    try:
        return locks.entries(content)
    except TrialError:
        return {}


def experiments() -> dict[str, list[str]]:
    """Return the names of the DVC experiments, by commit."""
    said = git.run("for-each-ref", "--format=%(objectname) %(refname)", _EXPERIMENTS) or ""
    found: dict[str, list[str]] = {}
    for line in said.splitlines():
        commit, ref = line.split(" ", 1)
        if named := _NAMED.fullmatch(ref):
            found.setdefault(commit, []).append(named["name"])
    return found


def _differing(objects: git.Objects, commit: str, lock: Mapping[str, Any]) -> Iterator[str]:
    """Yield the files of a commit that are not what dvc.lock says a stage read or wrote, of those that Git has."""
    for path, md5 in dict(_hashes(lock)).items():
        content = objects.read(f"{commit}:./{path}")
        if content is not None and hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
            yield path
    for path, ran in _params(lock).items():
        there = locks.load(objects.read(f"{commit}:./{path}") or b"") or {}
        if any(there.get(section) != value for section, value in ran.items()):
            yield path


def _hashes(lock: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for stage in lock.values():
        for entry in (*stage.get("deps", ()), *stage.get("outs", ())):
            if not entry.get("md5", ".dir").endswith(".dir"):
                yield entry["path"], entry["md5"]


def _params(lock: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the params that the stages ran with, by file and section."""
    found: dict[str, dict[str, Any]] = {}
    for stage in lock.values():
        for file, sections in stage.get("params", {}).items():
            found.setdefault(file, {}).update(sections)
    return found
