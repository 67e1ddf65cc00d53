"""Which trial is the best, and why: the objective, then tie-breaks, then the smaller model, then the earlier trial.

Metrics that agree to twelve digits are equal: a mean over the same folds in
another order differs in the last bit. With several objectives the trials that
no other beats in all of them are the Pareto front, and the best is that of the
front which the first objective puts first, then the second, and so on.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from stages.params import nearest
from trialtree.sweep.records import Trial

Key = tuple[float, ...]  # less is better

FILES = ("reports/metrics.json", "reports/script.json")  # the second has what a training script logged


class Objective(Protocol):
    """A metric and where it should go."""

    @property
    def metric(self) -> str: ...  # dotted, as cv.accuracy

    @property
    def goal(self) -> Literal["maximize", "minimize"]: ...


def read(folder: Path) -> dict[str, float]:
    """Return a trial's metrics by dotted name; a file that is not there or damaged has none."""
    found: dict[str, float] = {}
    for file in FILES:
        try:
            content = json.loads((folder / file).read_bytes())
        except (OSError, ValueError):
            continue
        found |= flat(content) if isinstance(content, dict) else {}
    return found


def flat(content: Mapping[str, Any], within: str = "") -> dict[str, float]:
    """Return the numbers of nested mappings by dotted name."""
    found: dict[str, float] = {}
    for name, value in content.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{within}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[f"{within}{name}"] = float(value)
    return found


def values(metrics: Mapping[str, float], objectives: Sequence[Objective]) -> tuple[Key | None, str | None]:
    """Return a trial's value of each objective, or None and why the trial has failed."""
    for objective in objectives:
        if reason := lacking(objective.metric, metrics):
            return None, reason
    return tuple(metrics[objective.metric] for objective in objectives), None


def lacking(name: str, metrics: Mapping[str, float]) -> str | None:
    """Return why a metric cannot be compared; None where it can."""
    if name in metrics:
        return None if math.isfinite(metrics[name]) else f"{name} is {_shown(metrics[name])}, which cannot be compared"
    part = name.partition(".")[0]
    known = [other for other in metrics if other.startswith(f"{part}.")] or list(metrics)
    return f"{FILES[0]} has no {name}; {nearest(name, known) if known else 'it holds no metric'}"


def _key(trial: Trial, objectives: Sequence[Objective], tie_break: Sequence[Objective]) -> Key:
    """Return what trials that are done are sorted by."""
    size = math.inf if trial.model_bytes is None else trial.model_bytes
    return (*_goals(trial, objectives), *(_of_metric(trial, tie) for tie in tie_break), size, trial.number)


def _goals(trial: Trial, objectives: Sequence[Objective]) -> Key:
    """Return how a trial meets each objective, less being better."""
    given = zip(trial.objective or (), objectives, strict=True)
    return tuple(less(value, objective) for value, objective in given)


def _of_metric(trial: Trial, by: Objective) -> float:
    """Return a metric of a trial, less being better; one that is missing or no number is the worst."""
    value = trial.metrics.get(by.metric, math.nan)
    return math.inf if math.isnan(value) else less(value, by)


def less(value: float, objective: Objective) -> float:
    """Return a value so that less is better, and with the digits that count."""
    return float(f"{value if objective.goal == 'minimize' else -value:.12g}")


def ranked(
    trials: Iterable[Trial], objectives: Sequence[Objective], tie_break: Sequence[Objective] = ()
) -> list[Trial]:
    """Return the trials that are done, the best first."""
    done = [trial for trial in trials if trial.state == "done" and trial.objective is not None]
    return sorted(done, key=lambda trial: _key(trial, objectives, tie_break))


def front(trials: Iterable[Trial], objectives: Sequence[Objective], tie_break: Sequence[Objective] = ()) -> list[Trial]:
    """Return the trials that no other beats: as good in each objective, and better in one. The best is first."""
    found: list[Trial] = []
    goals: list[Key] = []
    for trial in ranked(trials, objectives, tie_break):  # whatever beats a trial stands before it
        own = _goals(trial, objectives)
        if not any(_beats(other, own) for other in goals):
            found.append(trial)
            goals.append(own)
    return found


def _beats(one: Key, other: Key) -> bool:
    """Say whether a trial is as good as another in each objective and better in one."""
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


@dataclass(frozen=True)
class Best:
    """The best trial, and what made it so."""

    trial: Trial
    equal: list[Trial]  # the others with the same objective, in order
    decided: str | None  # what told it from the next of them: a metric, "size" or "number"
    front: list[Trial]  # with several objectives; of one, nothing


def best(trials: Iterable[Trial], objectives: Sequence[Objective], tie_break: Sequence[Objective] = ()) -> Best | None:
    """Return the best of the trials that are done; None where there is none."""
    order = ranked(trials, objectives, tie_break)
    if not order:
        return None
    first = order[0]
    equal = [trial for trial in order[1:] if _goals(trial, objectives) == _goals(first, objectives)]
    decided = None
    if equal:
        names = [*(tie.metric for tie in tie_break), "size", "number"]
        keys = (_key(trial, objectives, tie_break)[len(objectives) :] for trial in (first, equal[0]))
        decided = next(name for name, one, other in zip(names, *keys, strict=True) if one != other)
    return Best(first, equal, decided, front(order, objectives, tie_break) if len(objectives) > 1 else [])


def explain(found: Best, objectives: Sequence[Objective], tie_break: Sequence[Objective] = ()) -> list[str]:
    """Return in lines for a person why a trial is the best."""
    given = zip(objectives, found.trial.objective or (), strict=True)
    shown = ", ".join(f"{objective.metric} {_shown(value)}" for objective, value in given)
    lines = [f"best is trial {found.trial.number}: {shown}"]
    if found.front:
        lines.append(
            f"{_trials(len(found.front), 'is', 'are')} on the Pareto front; the best of them is that with the "
            f"{', then the '.join(_wish(objective) for objective in objectives)}"
        )
    if found.equal:
        lines.append(f"{_trials(len(found.equal) + 1, 'has', 'have')} that; {_reason(found, tie_break)}")
    return lines


def _reason(found: Best, tie_break: Sequence[Objective]) -> str:
    """Return what decided among trials of the same objective."""
    next_ = found.equal[0]
    if found.decided == "number":
        return "the earliest of them is taken, for nothing else tells them apart"
    if found.decided == "size":
        sizes = [
            f"{trial.model_bytes:,} bytes" if trial.model_bytes else "an unknown size" for trial in (found.trial, next_)
        ]
        return f"the smallest model decided, {sizes[0]} against {sizes[1]} of trial {next_.number}"
    by = next(tie for tie in tie_break if tie.metric == found.decided)
    own, other = (_shown(trial.metrics.get(by.metric, math.nan)) for trial in (found.trial, next_))
    return f"the {_wish(by)} decided, {own} against {other} of trial {next_.number}"


def reached(trial: Trial, objective: Objective, target: float) -> bool:
    """Say whether a trial that is done is as good as the target."""
    return trial.objective is not None and less(trial.objective[0], objective) <= less(target, objective)


class Progress:
    """How long nothing better has come, trial by trial in the order in which they ended."""

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self.since = 0  # trials, done or pruned, since the last that was better
        self._objectives = objectives
        self._best: list[Key] = []  # those that no other beats

    def take(self, trial: Trial) -> bool:
        """Take in a trial, and say whether it is better than all before; with several objectives, beaten by none."""
        own = _goals(trial, self._objectives) if trial.state == "done" and trial.objective is not None else None
        if own is not None and not any(other == own or _beats(other, own) for other in self._best):
            self._best = [other for other in self._best if not _beats(own, other)] + [own]
            self.since = 0
            return True
        self.since += trial.state in ("done", "pruned")
        return False


def _wish(objective: Objective) -> str:
    return f"{'lowest' if objective.goal == 'minimize' else 'highest'} {objective.metric}"


def _trials(count: int, one: str, several: str) -> str:
    return f"{count} trial{'' if count == 1 else 's'} {one if count == 1 else several}"


def _shown(value: float) -> str:
    return "NaN" if math.isnan(value) else f"{value:.6g}"
