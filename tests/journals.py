"""Journals of sweeps, as a driver leaves them."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trialtree.sweep.journal import Journal
from trialtree.sweep.records import ENDED, Decision, Head, Sweep, Trial

SECTION: Mapping[str, Any] = {
    "objective": {"metric": "cv.accuracy", "goal": "maximize"},
    "space": {"train.hyperparameters.kernel": {"choice": ["linear", "rbf"]}},
    "limits": {"trials": 12},
}
KERNEL, C = "train.hyperparameters.kernel", "train.hyperparameters.C"
_OF_END = {"number", "values", "raw", "source", "attempt", "began"}  # fields of a trial that other events have


def head(name: str = "iris-k3f9", baseline: str = "b" * 40, **section: Any) -> Head:
    """Return what a sweep is; `section` changes its section."""
    return Head(
        id=name, time=1790000000000, section={**SECTION, **section}, params={}, experiment="iris", baseline=baseline,
        tree="c" * 40, changed=[], seed=0, executor="engine", dvc="3.67.1",
    )  # fmt: skip


def done(number: int, *objective: float, values: Mapping[str, Any] | None = None, **more: Any) -> Trial:
    """Return a trial that is done."""
    given = dict(values) if values is not None else {KERNEL: "linear", C: number + 0.5}
    of: dict[str, Any] = {"seconds": 0.25, "name": f"iris-k3f9-{number:04}", "commit": "d" * 40, **more}
    return Trial(number, given, state="done", attempt=1, began=1790000000000, objective=objective, **of)


def failed(number: int, reason: str = "ValueError: no", **more: Any) -> Trial:
    """Return a trial that failed in train."""
    of = {"stage": "train", "status": 1, "log": f"logs/{number:05}.log", **more}
    return Trial(number, {KERNEL: "rbf", C: -1}, state="failed", attempt=1, seconds=0.5, reason=reason, **of)


def pruned(number: int, **more: Any) -> Trial:
    """Return a trial that a policy stopped."""
    decision = Decision("median_stopping", 12, 0.5, 0.75)
    return Trial(number, {KERNEL: "rbf", C: 2.0}, state="pruned", attempt=1, seconds=0.5, decision=decision, **more)


def sweep(trials: Iterable[Trial], of: Head | None = None, **known: Any) -> Sweep:
    """Return a sweep whose trials ended in their order."""
    there = {trial.number: trial for trial in trials}
    order = [number for number, trial in there.items() if trial.state in ENDED]
    return Sweep(of or head(), there, order, **known)


def write(place: Path, of: Sweep) -> Path:
    """Write the journal of a sweep below the folder of all sweeps, and return its folder."""
    with Journal(place / of.head.id) as journal:
        journal.add("sweep", **asdict(of.head))
        for trial in of.trials.values():
            journal.add("asked", number=trial.number, values=trial.values, raw=trial.raw, source=trial.source)
            if trial.state != "waiting":
                journal.add("began", number=trial.number, attempt=trial.attempt, time=trial.began)
        for number in of.order:
            said = {name: value for name, value in asdict(of.trials[number]).items() if name not in _OF_END}
            journal.add("ended", number=number, **said)
        if of.interrupted is not None:
            journal.add("left", reason=of.interrupted, time=0)
        if of.finished is not None:
            journal.add("finished", reason=of.finished, time=0)
    return place / of.head.id
