"""An entry of a dvc.lock, of whatever commit, to the execution that made it.

DVC writes a stage's entry behind the stage, so the next stage of the same
invocation keeps it; what it is found by are its hashes and its params. The
last stage of an invocation has none behind it (`dvc exp run evaluate`): it is
told by the entries of all stages before it and by its own params.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from stages.logs import key
from trialtree.logs import records
from trialtree.logs.records import Execution, Invocation
from trialtree.tracking import locks

_PARAMS = re.compile(rb"(?m)^    params:\n(?:      .*\n)+")


class Kept:
    """What is kept, listed once: for the locks of many trials."""

    def __init__(self) -> None:
        self.invocations = list(records.every())  # the newest first
        self._by_key: dict[tuple[str, str], list[Invocation]] = {}
        for invocation in self.invocations:
            for named in invocation.keys.items():
                self._by_key.setdefault(named, []).append(invocation)

    def made(
        self, stage: str, lock: Mapping[str, Any], experiment: str | None = None, before: int | None = None
    ) -> Execution | None:
        """Return the execution that made a stage's entry; of several the first of these that there is.

        That of an experiment, the newest before a time (milliseconds), the newest.
        """
        found = [*self._linked(stage, lock[stage]), *self._last(stage, lock)]

        def rank(of: Execution) -> tuple[bool, bool, int]:
            own = experiment is not None and of.experiment == experiment
            return own, before is None or of.started <= before, of.started

        return max(found, key=rank, default=None)

    def _linked(self, stage: str, entry: Mapping[str, Any]) -> Iterator[Execution]:
        """Yield the executions whose entry a later stage kept."""
        for invocation in self._by_key.get((stage, _key(entry)), ()):
            execution = invocation.executions.get(stage)
            if execution and execution.status == 0 and _has_params(invocation, stage, entry):
                yield execution

    def _last(self, stage: str, lock: Mapping[str, Any]) -> Iterator[Execution]:
        """Yield the executions behind which no stage ran."""
        before = [name for name in locks.STAGES[: locks.STAGES.index(stage)] if name in lock]
        if not before:
            return
        for invocation in self._by_key.get((before[-1], _key(lock[before[-1]])), ()):
            if stage in invocation.keys or f"{stage}.json" not in invocation.files:
                continue
            same = all(invocation.keys.get(name) == _key(lock[name]) for name in before)
            execution = invocation.executions.get(stage)
            if same and execution and execution.status == 0 and _had_params(invocation, lock[stage]):
                yield execution


def of_lock(
    lock: Mapping[str, Any], kept: Kept | None = None, experiment: str | None = None, before: int | None = None
) -> dict[str, Execution]:
    """Return the execution that made each entry of a dvc.lock, of fetch to evaluate, as far as they are kept here.

    `cached` are those of another invocation than the one that the trial came
    from, which is that of the newest of them.

    Args:
        lock: the entries by stage, as `tracking.locks.entries` reads them.
        kept: for many locks, what is kept, listed once.
        experiment: the DVC experiment that the lock is of; its own executions come first.
        before: when its commit was made, in milliseconds; of equal executions the last before that counts.
    """
    kept = kept or Kept()
    found: dict[str, Execution] = {}
    for stage in (name for name in reversed(locks.STAGES) if name in lock):
        if execution := kept.made(stage, lock, experiment, before):
            found[stage] = execution
            before = execution.started  # a stage took what was there when it ran
    newest = max(found.values(), key=lambda execution: execution.started, default=None)
    return {
        stage: replace(found[stage], cached=newest is not None and found[stage].invocation != newest.invocation)
        for stage in locks.STAGES
        if stage in found
    }


def _key(entry: Mapping[str, Any]) -> str:
    return key(file["md5"] for kind in ("deps", "outs") for file in entry.get(kind) or () if "md5" in file)


@cache
def _parsed(content: bytes) -> Any:
    try:
        return locks.load(content)
    except locks.TrialError:
        return None


def _has_params(invocation: Invocation, stage: str, entry: Mapping[str, Any]) -> bool:
    """Say whether the entry that was kept has the params of this one."""
    try:
        content = (invocation.path / f"{stage}.{_key(entry)}.entry").read_bytes()
    except OSError:
        return False
    found = _PARAMS.search(content)
    return bool(((_parsed(found[0]) or {}).get("params") if found else {}) == (entry.get("params") or {}))


def _had_params(invocation: Invocation, entry: Mapping[str, Any]) -> bool:
    """Say whether params.yaml, as the invocation found it, has the params of an entry."""
    try:
        there = _parsed((invocation.path / "params.yaml").read_bytes())
    except OSError:
        return False
    wanted = (entry.get("params") or {}).get("params.yaml") or {}
    return isinstance(there, Mapping) and all(there.get(name) == value for name, value in wanted.items())
