"""How much each param of a sweep counts for a good trial.

By PED-ANOVA: a param counts as far as the values of good trials are spread
otherwise than those of all trials. It takes part of a second for a thousand
trials, takes params that only some trials have, and draws nothing at random.
Of several objectives, the first counts.

References:
    S. Watanabe, A. Bansal, F. Hutter, PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary
    Subspaces (2023), https://doi.org/10.24963/ijcai.2023/488
"""

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stages.params import ParamsError
from trialtree.sweep import ranking
from trialtree.sweep.ranking import Objective
from trialtree.sweep.records import Sweep, Trial

if TYPE_CHECKING:
    from trialtree.sweep.space.tree import Dimension

_FEWEST = 5  # trials under which nothing can be said
_EACH = 10  # trials for each param under which it is a guess
_GOOD = 5  # trials that are good, at least
_SHARE = 0.1  # of the trials that are good, where that is more
_MOST = 2000  # trials that are looked at


@dataclass(frozen=True)
class Importance:
    """The params of a sweep by importance."""

    shares: list[tuple[str, float]]  # by key, the most important first; together 1
    note: str | None = None  # for a person: why there are none, or how far to trust them


def of(sweep: Sweep, objective: Objective) -> Importance:
    """Return how much each param counts for the objective, among the trials that are done."""
    from trialtree.sweep import space

    head = sweep.head
    try:
        known = space.read(head.section["space"], head.section.get("where") or (), head.params)
    except ParamsError:
        return Importance([], "no importance of params: this version cannot read the space of the sweep")
    return among([sweep.trials[number] for number in sorted(sweep.trials)], known.dimensions, objective)


def among(trials: Iterable[Trial], dimensions: Sequence["Dimension"], objective: Objective) -> Importance:
    """Return how much each of the keys that are drawn counts, by the trials of them that are done and were drawn."""
    done = [trial for trial in trials if trial.state == "done" and trial.objective and trial.raw]
    if len(done) < _FEWEST:
        return Importance(
            [], f"no importance of params: it takes {_FEWEST} trials that are done, and there are {len(done)}"
        )
    losses = [ranking.less(trial.objective[0], objective) for trial in done if trial.objective]
    good = _good(losses)
    if not good:
        return Importance([], f"no importance of params: {objective.metric} is the same in all {len(done)} trials")
    columns = {d.place: column for d in dimensions if (column := _column(d, done))}
    if not columns:
        return Importance([], "no importance of params: none has more than one value")
    step = -(-len(done) // _MOST)
    shares = _shares(columns, done[::step], losses[::step], (good - 0.5) / len(done))
    if not any(share for _, share in shares):
        return Importance([], "no importance of params: none tells good trials from others")
    few = len(done) < _EACH * len(shares)
    return Importance(shares, f"by {len(done)} trials only: a guess" if few else None)


def _good(losses: Sequence[float]) -> int:
    """Return how many trials count as good: a tenth or five, but none of those that are as bad as the worst."""
    wanted = max(_GOOD, math.ceil(_SHARE * len(losses)))
    worst = max(losses)
    better = sum(loss < worst for loss in losses)
    return min(wanted, better)


@dataclass(frozen=True)
class _Column:
    """What was drawn for a key, on a scale where equal steps are alike."""

    name: str
    values: Mapping[int, Any]  # by number of the trial
    choices: int | None  # of items that have no order


def _column(dimension: "Dimension", trials: Sequence[Trial]) -> _Column | None:
    """Return what was drawn for a key; None where it is always the same."""
    raw = {trial.number: trial.raw[dimension.place] for trial in trials if dimension.place in trial.raw}
    if len(set(raw.values())) < 2:
        return None
    if not dimension.ordered:
        return _Column(_name(dimension), raw, dimension.expression.size)
    expression: Any = dimension.expression
    logarithmic = getattr(expression, "exponential", False) or getattr(expression, "log", False)
    scale = math.log if logarithmic and min(raw.values()) > 0 else float
    return _Column(_name(dimension), {number: scale(value) for number, value in raw.items()}, None)


def _name(dimension: "Dimension") -> str:
    """Return the key that is shown: of items that set several, the first that all of them set."""
    sets = [[member.key for member in group.members] for group in dimension.items]
    return next((key for key in (sets[0] if sets else ()) if all(key in keys for keys in sets)), dimension.key)


def _shares(
    columns: Mapping[str, _Column], trials: Sequence[Trial], losses: Sequence[float], good: float
) -> list[tuple[str, float]]:
    """Return the share of each key; one that stands in several items has the sum of them."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    on = {place: _distribution(column) for place, column in columns.items()}
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=good)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of params that few trials have
        study = optuna.create_study()
        for trial, loss in zip(trials, losses, strict=True):
            here = [place for place, column in columns.items() if trial.number in column.values]
            values = {place: columns[place].values[trial.number] for place in here}
            study.add_trial(
                optuna.create_trial(value=loss, params=values, distributions={place: on[place] for place in here})
            )
        found = evaluator.evaluate(study, sorted({p for t in study.trials for p in t.params}))
    sums: dict[str, float] = {}
    for place, column in columns.items():
        sums[column.name] = sums.get(column.name, 0.0) + found.get(place, 0.0)
    total = sum(sums.values()) or 1.0
    return sorted(((name, value / total) for name, value in sums.items()), key=lambda share: (-share[1], share[0]))


def _distribution(column: _Column) -> Any:
    """Return a column's distribution as Optuna has it."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if column.choices is not None:
        return CategoricalDistribution(range(column.choices))
    return FloatDistribution(min(column.values.values()), max(column.values.values()))
