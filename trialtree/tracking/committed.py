"""Whether a commit is all that its trial came from, and which commit first had its data."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from trialtree.tracking import git, history, locks
from trialtree.tracking.locks import TrialError

_CODE = "stages"
Memo = dict[tuple[bytes, tuple[tuple[str, str], ...]], list[str]]


def differing(objects: git.Objects, commit: str, lock: Mapping[str, Any], memo: Memo | None = None) -> list[str]:
    """Return the files of a commit that are not what dvc.lock says a stage read or wrote, of those that Git has.

    `memo` remembers the code that many commits share.
    """
    hashes = dict(_hashes(lock))
    code = tuple(sorted((path, md5) for path, md5 in hashes.items() if path.startswith(f"{_CODE}/")))
    known = ((objects.read(f"{commit}:./{_CODE}") or b""), code)
    memo = {} if memo is None else memo
    if known not in memo:
        memo[known] = list(_other(objects, commit, code))
    rest = [(path, md5) for path, md5 in hashes.items() if not path.startswith(f"{_CODE}/")]
    return sorted({*memo[known], *_other(objects, commit, rest), *_other_params(objects, commit, lock)})


def _other(objects: git.Objects, commit: str, hashes: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield the files that Git has with another content."""
    for path, md5 in hashes:
        content = objects.read(f"{commit}:./{path}")
        if content is not None and hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
            yield path


def _other_params(objects: git.Objects, commit: str, lock: Mapping[str, Any]) -> Iterator[str]:
    """Yield the params files that have other values than the stages ran with."""
    for path, ran in _params(lock).items():
        there = locks.shared(objects.read(f"{commit}:./{path}") or b"") or {}
        if any(there.get(section) != value for section, value in ran.items()):
            yield path


def data_commit(head: str, data: tuple[str | None, str | None]) -> str | None:
    """Return the first commit that had these hashes of raw table and split, going back from `head` while they last."""
    with git.objects() as objects:
        return history.first(objects, head, has_data(data))


def has_data(data: tuple[str | None, str | None]) -> Callable[[bytes], bool]:
    """Return a test whether a dvc.lock holds the raw table and the split of these hashes."""
    return lambda content: all(data) and locks.data(_entries(content)) == data


def _entries(content: bytes) -> dict[str, Any]:
    """Return a dvc.lock's entries; none of a damaged one."""
    try:
        return locks.entries(content)
    except TrialError:
        return {}


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
