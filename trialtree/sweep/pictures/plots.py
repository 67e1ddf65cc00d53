"""Which plots there are of a sweep, and what each is of."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from trialtree.sweep import ranking
from trialtree.sweep.pictures import study as studies
from trialtree.sweep.pictures.study import Study
from trialtree.sweep.ranking import Objective
from trialtree.sweep.records import Trial

if TYPE_CHECKING:
    import optuna

Kind = Literal["history", "front", "importance", "parallel", "slices", "contour", "curves"]

_FUNCTIONS: dict[Kind, str] = {
    "history": "plot_optimization_history",
    "front": "plot_pareto_front",
    "importance": "plot_param_importances",
    "parallel": "plot_parallel_coordinate",
    "slices": "plot_slice",
    "contour": "plot_contour",
    "curves": "plot_intermediate_values",
}
_TITLES: dict[Kind, str] = {
    "history": "History",
    "front": "Pareto front",
    "importance": "Importance of params",
    "parallel": "Parallel coordinates",
    "slices": "Slices",
    "contour": "Contour",
    "curves": "Curves",
}
_PARALLEL, _SLICES, _CONTOUR = 10, 12, 4  # params at most
_STEPS = 40  # of an axis of a contour
_CURVES = 60  # trials
CURVES = {"best": "#c0392b", "done": "#3b75af", "stopped early": "#999999"}
_DIMENSIONS = (2, 3)  # goals that a front can be drawn of


@dataclass(frozen=True)
class Plot:
    """One of Optuna's plots."""

    kind: Kind
    name: str  # of its files
    title: str
    of: "optuna.Study"
    more: bool = True  # is better, of what is drawn
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def function(self) -> str:
        """The name of Optuna's function."""
        return _FUNCTIONS[self.kind]

    @property
    def trials(self) -> list[Any]:
        """The trials that it is of; `study.trials` would copy them all."""
        found: list[Any] = self.of.get_trials(deepcopy=False)
        return found

    def done(self) -> list[Any]:
        """Return those that are done."""
        return [trial for trial in self.trials if trial.state.name == "COMPLETE"]


def plots(study: Study, goals: Sequence[Objective], importance: Sequence[tuple[str, float]]) -> Iterator[Plot]:
    """Yield the plots of a sweep with at least one trial that is done.

    `importance` is how much each param counts, by key, the most important first.
    """
    names = _ordered(study, importance)
    for place, goal in enumerate(goals):
        yield _plot("history", study.of, goal, place, len(goals))
    if len(goals) in _DIMENSIONS:
        names_of = {"target_names": [goal.metric for goal in goals]}
        yield Plot("front", "front", _TITLES["front"], study.of, options=names_of)
    if known := {study.names[key]: share for key, share in importance if key in study.names}:
        options: dict[str, Any] = {"evaluator": _known(known), "target": _target(0) if len(goals) > 1 else None}
        options["target_name"] = goals[0].metric
        yield Plot("importance", "importance", _TITLES["importance"], study.of, options=options)
    if names:
        options = {"params": names[:_PARALLEL]} | ({"target_name": goals[0].metric} if len(goals) == 1 else {})
        more = goals[0].goal == "maximize" and len(goals) == 1  # of several, the rank: less is better
        yield Plot("parallel", "parallel", _TITLES["parallel"], study.of, more, options)
    for place, goal in enumerate(goals):
        if names:
            yield _plot("slices", study.of, goal, place, len(goals), params=names[:_SLICES])
        if len(names) > 1:
            coarse = studies.coarse(study.of, _STEPS)
            yield _plot("contour", coarse, goal, place, len(goals), params=names[:_CONTOUR])
    if len(goals) == 1:
        yield from _curves(study.trials, goals[0])


def _plot(kind: Kind, of: "optuna.Study", goal: Objective, place: int, count: int, **options: Any) -> Plot:
    """Return a plot of one goal of several."""
    more, options["target_name"] = goal.goal == "maximize", goal.metric
    if count == 1:
        return Plot(kind, kind, _TITLES[kind], of, more, options)
    options["target"] = _target(place)
    return Plot(kind, f"{kind}-{place + 1}", f"{_TITLES[kind]}: {goal.metric}", of, more, options)


def _target(place: int) -> Callable[[Any], float]:
    return lambda trial: float(trial.values[place])


def _ordered(study: Study, importance: Sequence[tuple[str, float]]) -> list[str]:
    """Return the names of the params, the most important first."""
    keys = dict.fromkeys([*(key for key, _ in importance if key in study.names), *study.names])
    return [study.names[key] for key in keys]


def _known(shares: Mapping[str, float]) -> Any:
    """Return an evaluator of importance that knows it already."""
    from optuna.importance import BaseImportanceEvaluator

    class Known(BaseImportanceEvaluator):  # type: ignore[misc]  # Optuna's is not seen by mypy
        def evaluate(self, study: Any, params: Any = None, *, target: Any = None) -> dict[str, float]:  # noqa: ARG002  # Optuna gives all
            return dict(shares)

    return Known()


def _curves(trials: Sequence[Trial], goal: Objective) -> Iterator[Plot]:
    """Yield the plot of the curves of trials: the best, and others evenly."""
    curved = [trial for trial in trials if len(trial.curve) > 1 and trial.state in ("done", "pruned")]
    if not curved:
        return
    first = ranking.ranked(curved, [goal])[: _CURVES // 3]
    others = [trial for trial in curved if trial not in first]
    room = min(_CURVES - len(first), len(others))
    chosen = [*first, *(others[place * len(others) // room] for place in range(room))]
    title = "Curves" if len(chosen) == len(curved) else f"Curves: {len(chosen)} of {len(curved):,} trials"
    yield Plot("curves", "curves", title, studies.curves(chosen, goal.goal), more=goal.goal == "maximize")


def shaded(plot: Plot) -> tuple[float, float]:
    """Return the values between which shades differ: the worst twentieth of the trials are all alike."""
    target = plot.options.get("target") or (lambda trial: trial.values[0])
    values = sorted(value for value in map(target, plot.done()) if math.isfinite(value))
    cut = len(values) // 20
    low, high = (values[cut], values[-1]) if plot.more else (values[0], values[-1 - cut])
    return low, high if high > low else low + 1e-9


def colors(plot: Plot) -> list[tuple[str, bool]]:
    """Return the colour of each trial's curve, and whether it is that of the best."""
    trials = [trial for trial in plot.trials if trial.intermediate_values]
    best = min(plot.done(), key=lambda trial: -trial.value if plot.more else trial.value, default=None)
    return [
        (CURVES["best" if trial is best else "done" if trial.state.name == "COMPLETE" else "stopped early"],
         trial is best)
        for trial in trials
    ]  # fmt: skip
