"""What Optuna is told of a space: a distribution for each key, and what was drawn as a coordinate in it.

Optuna has neither a normal distribution nor a logarithm with steps, and no
rounding: exponentials are told by their logarithm, a normal by the u in (0, 1)
that gives it, steps by their place. Rounding to a multiple of q comes after.
"""

import math
from typing import TYPE_CHECKING

from trialtree.sweep.space.choices import Choice
from trialtree.sweep.space.distributions import Normal, Uniform
from trialtree.sweep.space.expressions import Expression, Raw
from trialtree.sweep.space.steps import Int, RandInt, Stepped

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

_EDGE = 1e-9  # of u: six standard deviations
_UNORDERED = 100  # numbers of a randint that are told one from another; more are taken for ordered


def distribution(of: Expression) -> "BaseDistribution":
    """Return the distribution of an expression's coordinate."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if _is_category(of):
        return CategoricalDistribution(range(of.size or 0))
    if isinstance(of, Normal):
        return FloatDistribution(_EDGE, 1 - _EDGE)
    if isinstance(of, Uniform):
        return FloatDistribution(float(of.min_value), float(of.max_value))
    if isinstance(of, Stepped) and of.log:
        whole = isinstance(of, Int) and of.step == 1
        return IntDistribution(of.low, of.high, log=True) if whole else FloatDistribution(*map(math.log, of.bounds))
    if of.size is not None:
        return IntDistribution(0, of.size - 1)
    assert isinstance(of, Stepped)  # noqa: S101  # nothing else is left
    return FloatDistribution(*of.bounds)


def coordinate(of: Expression, raw: Raw) -> int | float:
    """Return the coordinate of what was drawn."""
    if isinstance(of, Normal):
        return min(max(of.chance(raw), _EDGE), 1 - _EDGE)
    if isinstance(of, Uniform):
        return _between(math.log(raw) if of.exponential else raw, float(of.min_value), float(of.max_value))
    if isinstance(of, Stepped) and of.log:
        if isinstance(of, Int) and of.step == 1:
            return of.value(raw)
        return _between(math.log(raw), *map(math.log, of.bounds))
    if isinstance(of, Stepped):
        return of.value(raw) if of.step is None else round((of.value(raw) - of.low) / of.step)
    return int(raw)


def drawn(of: Expression, coordinate: int | float) -> Raw:
    """Return what was drawn for a coordinate."""
    if isinstance(of, Normal):
        return of.draw(coordinate)
    if isinstance(of, Uniform):
        return math.exp(coordinate) if of.exponential else float(coordinate)
    if isinstance(of, Stepped) and of.log:
        return coordinate if isinstance(of, Int) and of.step == 1 else math.exp(coordinate)
    if of.size is not None:
        return of.at(int(coordinate))
    return float(coordinate)


def _is_category(of: Expression) -> bool:
    """Say whether neighbouring values have nothing in common."""
    if isinstance(of, RandInt):
        return of.upper <= _UNORDERED
    return isinstance(of, Choice) and not of.ordered


def _between(number: float, low: float, high: float) -> float:
    return min(max(number, low), high)
