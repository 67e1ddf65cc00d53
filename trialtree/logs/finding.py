"""A trial's name to the executions of its stages."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stages.errors import UserError
from stages.logs import ORDER
from trialtree import revisions
from trialtree.logs import sweeps
from trialtree.logs.linking import Kept, of_lock
from trialtree.logs.records import Execution, Invocation
from trialtree.tracking import git, history, locks, refs

_STASHES = {
    "celery/stash": "{0} is queued and has not begun; `dvc queue start` begins",
    "celery/failed": "{0} failed before a stage of it began; `dvc queue logs {0}` has what DVC said",
}


class LogsError(UserError):
    """A trial of which no output is kept."""


@dataclass(frozen=True)
class Part:
    """A stage of a trial, and its execution where that is kept here."""

    stage: str
    cached: bool  # as far as it is known
    execution: Execution | None


@dataclass(frozen=True)
class Found:
    """The stages of a trial."""

    trial: str
    invocation: Invocation | None  # that it came from, where that is kept
    parts: list[Part]


def find(name: str | None) -> Found:
    """Return the stages of a trial: the latest of the working folder, or that of a revision, DVC experiment or sweep.

    Raises:
        RevisionError: there is no such trial.
        LogsError: nothing of it is kept here.
    """
    if name is None:
        return _latest(Kept())
    commit = git.run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    if commit is None and (swept := sweeps.find(name)):
        name, execution = swept
        if execution is not None:
            return Found(name, None, [Part(execution.stage, cached=False, execution=execution)])
    kept = Kept()
    if commit is not None:
        newer = _newer(kept, name, commit)
        return of_invocation(newer, kept) if newer else _of_commit(name, commit, kept)
    own = (i for i in kept.invocations if i.first and i.first.experiment == name)
    if invocation := next(own, None):
        return of_invocation(invocation, kept)
    if (at := revisions.resolved(name)) is None:
        _refuse_waiting(name)
    return _of_commit(name, at or revisions.commit(name), kept)


def _latest(kept: Kept) -> Found:
    """Return the latest invocation of the working folder."""
    here = str(Path.cwd())
    found = next((i for i in kept.invocations if i.first and i.first.folder == here), None)
    if found is None:
        raise LogsError(
            "no stage has run in this folder; `dvc repro` runs the pipeline, `trialtree logs HEAD` is of the commit"
        )
    return of_invocation(found, kept)


def _newer(kept: Kept, branch: str, commit: str) -> Invocation | None:
    """Return the invocation of a branch that began after its last commit: it runs, failed, or is not committed."""
    made = _time(commit)
    for invocation in kept.invocations:
        first = invocation.first
        if first and first.branch == branch:
            # Git's times are whole seconds; register alone runs again and again, and makes no other trial.
            other = set(invocation.executions) != {ORDER[-1]} or not invocation.over
            return invocation if other and first.started // 1000 > made and first.commit == commit else None
    return None


def _time(commit: str) -> int:
    """Return when a commit was made, in seconds."""
    return int(git.run("show", "-s", "--format=%ct", commit) or 0)


def of_invocation(invocation: Invocation, kept: Kept) -> Found:
    """Return the stages of an invocation, those that were cached among them."""
    first = invocation.first
    entries = {stage: _entry(invocation, stage) for stage in invocation.keys}
    lock = {stage: entry for stage, entry in entries.items() if entry}
    parts = [Part(stage, cached=False, execution=execution) for stage, execution in invocation.executions.items()]
    for stage in ORDER:
        if stage in lock and stage not in invocation.executions:
            made = kept.made(stage, lock, before=first.started if first else None)
            parts.append(Part(stage, cached=True, execution=made and replace(made, cached=True)))
    place = {stage: number for number, stage in enumerate(ORDER)}
    parts.sort(key=lambda part: place.get(part.stage, len(ORDER)))
    return Found(first.of if first else "", invocation, parts)


def _entry(invocation: Invocation, stage: str) -> Mapping[str, Any] | None:
    """Return an entry of dvc.lock as an invocation kept it."""
    try:
        content = (invocation.path / f"{stage}.{invocation.keys[stage]}.entry").read_bytes()
        found = locks.load(content)
    except (OSError, locks.TrialError):
        return None
    return found if isinstance(found, Mapping) else None


def _of_commit(name: str, commit: str, kept: Kept) -> Found:
    """Return the stages of the trial that a commit holds."""
    with git.objects() as objects:
        content = history.lock_at(objects, commit)
    lock = locks.entries(content) if content else {}
    if not lock:
        raise LogsError(f"{name}: {commit[:7]} has no dvc.lock: the pipeline has not run there")
    experiment = next(iter(refs.read().experiments.get(commit, ())), None)
    parts = list(_parts(lock, of_lock(lock, kept, experiment, _time(commit) * 1000 + 999), experiment))
    ran = [part.execution for part in parts if part.execution and not part.cached]
    invocation = Invocation(ran[-1].log.parent) if ran else None
    if invocation and ORDER[-1] in invocation.executions:
        parts.append(Part(ORDER[-1], cached=False, execution=invocation.executions[ORDER[-1]]))
    return Found(name, invocation, parts)


def _parts(lock: Mapping[str, Any], found: Mapping[str, Execution], experiment: str | None) -> Iterator[Part]:
    """Yield the stages of a dvc.lock."""
    # An experiment that took all from the cache has no execution of its own.
    own = experiment is None or any(execution.experiment == experiment for execution in found.values())
    for stage in lock:
        execution = found.get(stage)
        cached = execution is not None and (execution.cached or not own)
        yield Part(stage, cached, execution and replace(execution, cached=cached))


def _refuse_waiting(name: str) -> None:
    """Stop where an experiment waits in DVC's queue, or failed in it."""
    for ref, words in _STASHES.items():
        said = git.run("reflog", "show", "--format=%gs", f"refs/exps/{ref}") or ""
        if re.search(rf"(?m)dvc-exp:[0-9a-f]+:[0-9a-f]+:{re.escape(name)}(:|$)", said):
            raise LogsError(words.format(name))
