"""Trials of a sweep that no commit holds whole, failed and pruned ones, as runs of MLflow by what the journal has."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trialtree.sweep.records import Head, Trial
from trialtree.tracking import bulk, locks, runs
from trialtree.tracking.bulk import New, Point
from trialtree.tracking.index import STATE
from trialtree.tracking.trials import COMMIT, EXPERIMENT, NUMBER, SWEEP

if TYPE_CHECKING:
    from mlflow import MlflowClient

_STATUS = {"failed": "FAILED", "pruned": "KILLED"}
_ESTIMATOR, _HYPERPARAMETERS = "train.estimator", "hyperparameters"


def write(
    client: "MlflowClient", experiment_id: str, head: Head, lot: Sequence[Trial], above: Mapping[str, str]
) -> list[str]:  # fmt: skip
    """Make the runs of trials that failed or were pruned, with the tags `above` as well, and return their ids."""
    place = bulk.location(client, experiment_id) if lot else None
    new = [_run(head, trial, above) for trial in lot]
    if place is None:
        return [runs.create(client, experiment_id, run) for run in new]
    return bulk.write(client, experiment_id, place, new)


def _run(head: Head, trial: Trial, above: Mapping[str, str]) -> New:
    """Return the run of such a trial."""
    start = trial.began or head.time
    tags = {**above, **_tags(head, trial), STATE: end(trial)}
    return New(
        name=trial.name or f"{head.id}-{trial.number:04}",
        status=_STATUS.get(trial.state, "FINISHED"),
        start=start,
        end=start + int(1000 * (trial.seconds or 0)),
        tags={name: value[: runs.TAG] for name, value in tags.items()},
        params=runs.mlflow_params(dict(_params(head, trial)))[0],
        points=[*_points(head, trial, start)],
    )


def end(trial: Trial) -> str:
    """Return what tells this end of a trial from another one: it may be tried again."""
    return f"{trial.state} {trial.attempt}"


def _tags(head: Head, trial: Trial) -> dict[str, str]:
    """Return what the journal says of how a trial ended, as tags."""
    found = {
        SWEEP: head.id,
        NUMBER: str(trial.number),
        "baseline_commit": head.baseline,
        "sweep.state": trial.state,
        "sweep.attempt": str(trial.attempt),
        "sweep.reason": trial.decision.text if trial.decision else trial.reason,
        "sweep.stage": trial.stage,
        "exit_status": None if trial.status is None else str(trial.status),
        "sweep.log": trial.log,
        COMMIT: trial.commit,
        EXPERIMENT: trial.name if trial.commit else None,
    }
    return {name: value for name, value in found.items() if value}


def _params(head: Head, trial: Trial) -> Iterator[tuple[str, Any]]:
    """Yield the params of a trial's stages by dotted name: those that the sweep set, over those it started from."""
    content = copy.deepcopy({name: head.params[name] for name in locks.STAGES if name in head.params})
    if _ESTIMATOR in trial.values:
        content.get("train", {}).pop(_HYPERPARAMETERS, None)
    for dotted, value in trial.values.items():
        *parents, name = dotted.split(".")
        inner: Any = content
        for parent in parents:
            inner = inner.setdefault(parent, {}) if isinstance(inner, dict) else {}
        if isinstance(inner, dict):
            inner[name] = value
    yield from locks.flat(content)


def _points(head: Head, trial: Trial, start: int) -> Iterator[Point]:
    """Yield the metrics that a trial came to, and the curve that the policy watched."""
    for name, value in trial.metrics.items():
        yield runs.mlflow_name(name, {}), value, start, 0
    watched = (head.section.get("early_termination") or {}).get("curve")
    label = f"curve.{watched}" if watched else "reports"
    for step, value in trial.curve:
        yield runs.mlflow_name(label, {}), value, start, step
