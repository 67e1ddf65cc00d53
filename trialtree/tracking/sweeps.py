"""What the run of a sweep says: its section of params.yaml, its objective, and the best of its trials."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trialtree.tracking import git, locks, runs
from trialtree.tracking.index import STATE
from trialtree.tracking.locks import LOCK, TrialError
from trialtree.tracking.survey import Place
from trialtree.tracking.trials import SWEEP

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from trialtree.sweep.records import Trial

_FORM = 1  # of what is said; another one says it anew
_FILES = ("reports/metrics.json", "reports/script.json")
_SHOWN = 20  # names of a Pareto front


@dataclass(frozen=True)
class Objective:
    """A metric and where it should go."""

    metric: str
    goal: Any  # maximize or minimize


@dataclass(frozen=True)
class Said:
    """What a sweep's run says."""

    params: Mapping[str, str]
    tags: dict[str, str]
    values: Mapping[str, float] = field(default_factory=dict)  # of metrics, at the step `count`
    count: int = 0  # of trials that are done


def state(states: Iterable[str]) -> str:
    """Return a digest of the states of a sweep's trials: equal, its run says of them what it is to say."""
    return hashlib.sha256(json.dumps([_FORM, sorted(states)]).encode()).hexdigest()[:16]


def said(sweep: str, section: Mapping[str, Any], trials: Sequence["Trial"]) -> Said:
    """Return what the run of a sweep says, by its section and the trials that are done."""
    from trialtree.sweep import ranking

    goals, ties = objectives(section.get("objective")), objectives(section.get("tie_break"))
    params = runs.mlflow_params(dict(locks.flat({"sweep": section})))[0]
    tags = {SWEEP: sweep, "sweep.objective": ", ".join(f"{one.goal} {one.metric}" for one in goals)}
    best = ranking.best(trials, goals, ties) if goals else None
    if best is None:
        return Said(params, tags)
    names = [str(trial.name) for trial in best.front or [best.trial]]
    tags["sweep.best"] = " ".join(names[:_SHOWN])
    values = {"trials": float(len(trials))}
    for at, one in enumerate(goals):
        choose = max if one.goal == "maximize" else min
        values[f"best.{one.metric}"] = choose(trial.objective[at] for trial in trials if trial.objective)
    return Said(params, tags, values, len(trials))


def objectives(given: Any) -> list[Objective]:
    """Return the objectives of a section; those that are none are left out."""
    listed = given if isinstance(given, list) else [given]
    pairs = ((one.get("metric"), one.get("goal")) for one in listed if isinstance(one, Mapping))
    return [Objective(metric, goal) for metric, goal in pairs if isinstance(metric, str) and isinstance(goal, str)]


def of_git(objects: git.Objects, sweep: str, places: Sequence[Place]) -> Said:
    """Return what the run of a sweep says, by the commits of its trials alone."""
    first = min(places, key=lambda place: (place.number or 0, place.seconds))
    try:
        section = (locks.load(objects.read(f"{first.commit}:./params.yaml") or b"") or {}).get("sweep") or {}
    except (TrialError, AttributeError):
        section = {}
    goals = objectives(section.get("objective"))
    found = (trial(objects, place.commit, place.experiment, place.number or 0, goals) for place in places)
    return said(sweep, section, [one for one in found if one is not None])


def trial(
    objects: git.Objects, commit: str, name: str | None, number: int, objectives: Sequence[Objective]
) -> "Trial | None":
    """Return what ranks the trial of a commit; None of one that has no value of an objective."""
    from trialtree.sweep import ranking, records

    metrics: dict[str, float] = {}
    for path in _FILES:
        try:
            metrics |= ranking.flat(json.loads(objects.read(f"{commit}:./{path}") or b"{}"))
        except (ValueError, AttributeError):
            continue
    values, _ = ranking.values(metrics, objectives)
    if values is None:
        return None
    size = _size(objects.read(f"{commit}:./{LOCK}") or b"")
    return records.Trial(number, {}, state="done", objective=values, metrics=metrics, name=name, model_bytes=size)


def _size(content: bytes) -> int | None:
    """Return the size of the model, as a dvc.lock has it."""
    outs = (out for stage in locks.entries(content).values() for out in stage.get("outs", ()))
    return next((out.get("size") for out in outs if out["path"] == locks.MODEL), None)


def write(client: "MlflowClient", run: Any, told: Said, state: str | None = None) -> None:
    """Let the run of a sweep say something; what it says already is left."""
    from mlflow.entities import Metric, Param, RunTag

    had = run.data
    given = {**told.tags, **({STATE: state} if state else {})}
    tags = [RunTag(name, value[: runs.TAG]) for name, value in given.items() if had.tags.get(name) != value[: runs.TAG]]
    params = [Param(name, value) for name, value in told.params.items() if name not in had.params]
    time = run.info.end_time or run.info.start_time
    points = [
        Metric(runs.mlflow_name(name, {}), value, time, told.count)
        for name, value in told.values.items() if had.metrics.get(name) != value
    ]  # fmt: skip
    runs.send(client, run.info.run_id, points, params, tags)
