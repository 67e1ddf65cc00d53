"""A sweep as a study of Optuna's, made again from the journal: for its plots, not to go on from."""

import json
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trialtree.sweep.ranking import Objective
from trialtree.sweep.records import Sweep, Trial
from trialtree.sweep.screen import words

if TYPE_CHECKING:
    import optuna

_EXPONENTIAL = ("loguniform", "qloguniform", "lognormal", "qlognormal")
_LONGEST = 22  # characters of a label
_WIDE = 50  # largest to smallest of numbers to choose from, above which their scale is logarithmic


class Label(str):
    """A choice as a picture names it: Optuna shows the `repr` of some."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


@dataclass(frozen=True)
class Study:
    """A study, and how its params are called."""

    of: "optuna.Study"
    names: dict[str, str]  # short names of the params with more than one value, by key
    trials: Sequence[Trial]


def read(sweep: Sweep, goals: Sequence[Objective]) -> Study:
    """Return the study of a sweep."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    trials = [sweep.trials[number] for number in sorted(sweep.trials)]
    done = [trial for trial in trials if trial.state == "done"]
    axes = dict(_axes(done, set(logarithmic(sweep.head.section.get("space") or {}))))
    names = {key: _cut(name) for key, name in words.short(axes).items()}
    if len(set(names.values())) < len(names):
        names = {key: f"{_cut(name, _LONGEST - 4)} ({place})" for place, (key, name) in enumerate(names.items())}
    study = _made([goal.goal for goal in goals], [_frozen(trial, axes, names) for trial in trials])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study.set_metric_names([goal.metric for goal in goals])
    return Study(study, names, trials)


def curves(trials: Sequence[Trial], goal: str) -> "optuna.Study":
    """Return the study of some trials' curves, without params: Optuna copies all that a study has, again and again."""
    return _made([goal], [_frozen(trial, {}, {}, curve=True) for trial in trials])


def _made(directions: Sequence[Any], trials: Sequence[Any]) -> "optuna.Study":
    """Return a study with these trials."""
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = optuna.create_study(directions=directions)
        study.add_trials(trials)
    return study


@dataclass(frozen=True)
class _Axis:
    """A param of the study."""

    distribution: Any  # of Optuna's
    labels: Mapping[str, Label] | None  # of the choices, by their JSON; None of a number

    def value(self, of: Any) -> Any:
        """Return a value as the study has it."""
        return of if self.labels is None else self.labels[_text(of)]


def _axes(trials: Iterable[Trial], logarithmic: set[str]) -> Iterator[tuple[str, _Axis]]:
    """Yield each param that has more than one value."""
    values: dict[str, dict[str, Any]] = {}
    for trial in trials:
        for key, value in trial.values.items():
            values.setdefault(key, {})[_text(value)] = value
    for key, distinct in values.items():
        if len(distinct) > 1:
            yield key, _axis([*distinct.values()], key in logarithmic)


def _axis(values: Sequence[Any], log: bool) -> _Axis:
    """Return the axis on which some values lie."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        labels = _labels(values)
        return _Axis(CategoricalDistribution([*labels.values()]), labels)
    low, high = min(values), max(values)
    log = low > 0 and (log or (len(values) <= 10 and high / low > _WIDE))
    if all(isinstance(value, int) for value in values):
        return _Axis(IntDistribution(low, high, log=log), None)
    return _Axis(FloatDistribution(float(low), float(high), log=log), None)


def _labels(values: Sequence[Any]) -> dict[str, Label]:
    """Return a label for each value, short and its own: of a dotted name the end."""
    found: dict[str, Label] = {}
    for value in sorted(values, key=_place):
        text = words.value(value)
        text = _cut(text.rpartition(".")[2] if text.replace(".", "").isidentifier() else text)
        number = 1
        while (label := text if number == 1 else f"{text} ({number})") in found.values():
            number += 1
        found[_text(value)] = Label(label)
    return found


def _place(value: Any) -> tuple[bool, float, str]:
    """Return what choices are sorted by: numbers by size, and then the others by name."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return not number, value if number else 0, _text(value)


def _cut(text: str, longest: int = _LONGEST) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _frozen(trial: Trial, axes: Mapping[str, _Axis], names: Mapping[str, str], *, curve: bool = False) -> Any:
    """Return a trial as Optuna has it: at its place, for Optuna counts; with params where it is done."""
    import optuna

    states = {"done": optuna.trial.TrialState.COMPLETE, "pruned": optuna.trial.TrialState.PRUNED}
    state = states.get(trial.state, optuna.trial.TrialState.FAIL)
    here = {key: axes[key] for key in trial.values if key in axes} if trial.state == "done" else {}
    return optuna.trial.create_trial(
        state=state,
        values=[*(trial.objective or ())] if trial.state == "done" else None,
        params={names[key]: axis.value(trial.values[key]) for key, axis in here.items()},
        distributions={names[key]: axis.distribution for key, axis in here.items()},
        intermediate_values=dict(trial.curve) if curve else {},
    )


def logarithmic(space: Any, key: str = "") -> Iterator[str]:
    """Yield the keys of a space whose values are drawn on a logarithmic scale."""
    if isinstance(space, list):
        for item in space:
            yield from logarithmic(item, key)
    elif isinstance(space, Mapping):
        for name, inner in space.items():
            if name in _EXPONENTIAL or (name in ("int", "float") and _with_log(inner)):
                yield key
            elif name in ("choice", "values"):
                yield from logarithmic(inner, key)
            else:
                yield from logarithmic(inner, f"{key}.{name}" if key else name)


def _with_log(options: Any) -> bool:
    return isinstance(options, Mapping) and options.get("log") is True


def coarse(of: "optuna.Study", steps: int) -> "optuna.Study":
    """Return a study whose numbers lie on a grid of so many steps, for a contour that is drawn in a second."""
    import optuna

    trials = [
        optuna.trial.create_trial(
            state=trial.state,
            values=trial.values,
            params={name: _snapped(trial.params[name], on, steps) for name, on in trial.distributions.items()},
            distributions=trial.distributions,
        )
        for trial in of.get_trials(deepcopy=False)
    ]
    return _made(of.directions, trials)


def _snapped(value: Any, on: Any, steps: int) -> Any:
    """Return the nearest of so many values of an axis."""
    from optuna.distributions import CategoricalDistribution, IntDistribution

    if isinstance(on, CategoricalDistribution) or on.high == on.low:
        return value
    ends = [math.log(on.low), math.log(on.high)] if on.log else [on.low, on.high]
    width = (ends[1] - ends[0]) / steps
    place = ends[0] + round(((math.log(value) if on.log else value) - ends[0]) / width) * width
    near = min(max(math.exp(place) if on.log else place, on.low), on.high)
    return round(near) if isinstance(on, IntDistribution) else near
