"""The best trial of a sweep, and what can be done with it.

    trialtree best [SWEEP] [--trial NUMBER] [--apply | --branch NAME | --register] [--json]

What it prints is read from the journal; what it does is done by DVC, on the
experiment that the trial is.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from trialtree.sweep import applying, journal
from trialtree.sweep.applying import BestError
from trialtree.sweep.ranking import Best
from trialtree.sweep.records import Sweep, Trial
from trialtree.sweep.screen import events, standing, words
from trialtree.sweep.screen.standing import Goals

_LISTED = 20  # trials of a front, or as good as the best


@dataclass(frozen=True)
class Asked:
    """The options of the command."""

    sweep: str | None = None
    trial: int | None = None
    apply: bool = False
    branch: str | None = None
    register: bool = False
    as_json: bool = False


def best(asked: Asked) -> Iterator[str]:
    """Do what is asked, and yield what to print.

    Raises:
        SweepError: there is no such sweep.
        BestError: no trial is done, or it cannot be had.
    """
    doing = [name for name in ("apply", "branch", "register", "as_json") if getattr(asked, name) not in (None, False)]
    if len(doing) > 1:
        named = ", ".join(f"--{name.removeprefix('as_')}" for name in doing)
        raise BestError(f"{named}: give one of them")
    folder = journal.find(asked.sweep)
    sweep = journal.read(folder)
    goals = standing.recorded(sweep.head.section)
    found, trial = chosen(sweep, goals, asked.trial)
    if asked.apply:
        yield from applying.apply(sweep, trial)
    elif asked.branch is not None:
        yield from applying.branch(sweep, trial, asked.branch)
    elif asked.register:
        from trialtree.sweep import registering

        yield from registering.register(applying.commit(sweep, trial))
    elif asked.as_json:
        yield json.dumps(events.finite(_as_json(sweep, found, trial, goals)), indent=2, ensure_ascii=False)
    else:
        yield from _told(sweep, found, trial, goals, going=journal.running(folder))


def chosen(sweep: Sweep, goals: Goals, number: int | None = None) -> tuple[Best, Trial]:
    """Return the best trial, and the one of a number; without, the best again.

    Raises:
        BestError: no trial is done, or that one is not.
    """
    found = standing.best(sweep, goals)
    trial = _numbered(sweep, number) if number is not None else None
    if found is None:
        failed = len(sweep.of("failed"))
        why = f": {words.count(failed, 'trial')} failed" if failed else ""
        raise BestError(f"no trial of {sweep.head.id} is done{why}; `trialtree sweep show {sweep.head.id}` tells more")
    return found, trial or found.trial


def _numbered(sweep: Sweep, number: int) -> Trial:
    """Return a trial that is done by its number.

    Raises:
        BestError: it is not there, or not done.
    """
    trial = sweep.trials.get(number)
    if trial is None:
        last = f"; the last is {max(sweep.trials)}" if sweep.trials else ""
        raise BestError(f"{sweep.head.id} has no trial {number}{last}")
    if trial.state != "done":
        why = f": {words.ended(trial)}" if trial.state in ("failed", "pruned") else ""
        raise BestError(f"trial {number} of {sweep.head.id} is {trial.state}, not done{why}")
    return trial


def _told(sweep: Sweep, found: Best, trial: Trial, goals: Goals, *, going: bool) -> Iterator[str]:
    """Yield what there is to say of a trial."""
    if going:
        yield f"{sweep.head.id} is running; this is the best so far"
    if trial is found.trial:
        yield from standing.explain(found, goals)
    else:
        rank = standing.ranked(sweep, goals).index(trial) + 1
        yield f"trial {trial.number}: {words.objective(trial, goals.objectives)}; number {rank} of those that are done"
    yield f"experiment {trial.name}, commit {(trial.commit or '-')[:7]}" + (
        "" if applying.there(sweep, trial) else "; removed"
    )
    names = words.short(trial.values)
    width = max(map(len, names.values()), default=0)
    for key, value in trial.values.items():
        yield f"  {names[key]:{width}}  {words.value(value)}"
    if trial is found.trial:
        yield from _others(found, goals)


def _others(found: Best, goals: Goals) -> Iterator[str]:
    """Yield which other trials are on the front, or as good."""
    others = found.front[1:]
    for other in others[:_LISTED]:
        yield f"on the front: trial {other.number}: {words.objective(other, goals.objectives)}"
        yield f"  {words.params(other.values)}"
    if others:
        more = f"{len(others) - _LISTED} more are; " if len(others) > _LISTED else ""
        yield f"{more}`--trial NUMBER` takes another of them"
    elif len(found.equal) > 1:
        yield f"as good: trials {', '.join(str(other.number) for other in found.equal[:_LISTED])}"


def _as_json(sweep: Sweep, found: Best, trial: Trial, goals: Goals) -> dict[str, Any]:
    """Return what `--json` prints."""
    return {
        "sweep": sweep.head.id,
        "objective": [{"metric": goal.metric, "goal": goal.goal} for goal in goals.objectives],
        "trial": events.as_json(trial),
        "removed": not applying.there(sweep, trial),
        "why": standing.explain(found, goals) if trial is found.trial else [],
        "equal": [other.number for other in found.equal] if trial is found.trial else [],
        "front": [other.number for other in found.front],
    }
