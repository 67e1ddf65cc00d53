"""What the trials of a sweep may look like, as far as their curves depend on it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trialtree.sweep.stopping import labels

if TYPE_CHECKING:
    from trialtree.sweep.space import Space
    from trialtree.sweep.space.expressions import Raw
    from trialtree.sweep.space.tree import Dimension

_MOST = 1000  # combinations that are looked at
_OTHERS = ("train.script", "train.estimator", "train.calibrate", "train.accelerate", "split.validation")
_FOLDS = "evaluate.cross_validation"
_HIGH = 1 - 1e-9  # draws about the greatest value of a number


@dataclass(frozen=True)
class Candidate:
    """A kind of trial."""

    estimator: str  # or the script
    curves: labels.Curves | None  # None: nobody knows before
    folds: int | None  # of its cross-validation


def of(space: "Space") -> list[Candidate]:
    """Return the kinds of trials of a space: one for each choice of what curves depend on, numbers at their most."""
    return list(dict.fromkeys(_candidate(space.base, values) for values in _points(space)))


def _points(space: "Space") -> Iterator[Mapping[str, Any]]:
    """Yield the values of a point for each combination of the choices that matter."""
    from trialtree.sweep.space.choices import Choice

    taken: list[tuple[int, int]] = []  # of each choice on the way, the item and how many there are
    for _ in range(_MOST):
        step = 0

        def choose(dimension: "Dimension") -> "Raw":
            nonlocal step
            if not isinstance(dimension.expression, Choice):
                return dimension.expression.draw(_HIGH)
            if not dimension.items and not _matters(dimension.key):
                return 0
            if step == len(taken):
                taken.append((0, dimension.expression.size))
            step += 1
            return taken[step - 1][0]

        yield space.draw(choose).values
        while taken and taken[-1][0] + 1 == taken[-1][1]:
            taken.pop()
        if not taken:
            return
        taken[-1] = taken[-1][0] + 1, taken[-1][1]


def _matters(key: str) -> bool:
    """Say whether curves depend on a key."""
    if key.startswith("train.hyperparameters."):
        return key.rpartition(".")[2] in labels.RELEVANT
    return key in _OTHERS or key.startswith(_FOLDS)


def _candidate(base: Mapping[str, Any], values: Mapping[str, Any]) -> Candidate:
    """Return the kind of trial that a point gives."""
    from trialtree.sweep.space import keys
    from trialtree.sweep.space.finding import MISSING

    def get(key: str) -> Any:
        found = keys.seen(base, values, key)
        return None if found is MISSING else found

    train = {key.removeprefix("train."): get(key) for key in _OTHERS}
    if train["script"]:
        return Candidate(str(train["script"]), labels.Curves(), None)
    curves = labels.curves(train, lambda name: get(f"train.hyperparameters.{name}"), bool(get("split.validation")))
    folds = get(f"{_FOLDS}.folds")
    return Candidate(str(train["estimator"]), curves, folds if isinstance(folds, int) else None)
