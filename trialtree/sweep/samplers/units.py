"""What was drawn as a number in [0, 1], and back: for keys whose neighbouring values are alike."""

import math

from trialtree.sweep.space.choices import Choice
from trialtree.sweep.space.distributions import Normal, Uniform
from trialtree.sweep.space.expressions import Expression, Raw
from trialtree.sweep.space.steps import RandInt, Stepped
from trialtree.sweep.space.tree import Dimension

_EDGE = 1e-9  # of a normal distribution, which has no ends


def has(of: Dimension) -> bool:
    """Say whether a key can be told as such a number."""
    return of.ordered and not of.conditional and not isinstance(of.expression, RandInt)


def drawn(of: Expression, unit: float) -> Raw:
    """Return what is drawn for a number, before rounding: places of items and steps too."""
    if isinstance(of, Normal):
        return of.draw(min(max(unit, _EDGE), 1 - _EDGE))
    low, high, exponential = _bounds(of)
    return math.exp(low + (high - low) * unit) if exponential else low + (high - low) * unit


def unit(of: Expression, raw: Raw) -> float:
    """Return the number of what was drawn."""
    if isinstance(of, Normal):
        return of.chance(raw)
    low, high, exponential = _bounds(of)
    found = ((math.log(raw) if exponential else raw) - low) / (high - low)
    return min(max(found, 0.0), 1.0)


def _bounds(of: Expression) -> tuple[float, float, bool]:
    """Return the ends of what is drawn, and whether they are those of its logarithm."""
    if isinstance(of, Uniform):
        return float(of.min_value), float(of.max_value), of.exponential
    if isinstance(of, Stepped):
        low, high = of.bounds
        return (math.log(low), math.log(high), True) if of.log else (low, high, False)
    assert isinstance(of, Choice)  # noqa: S101  # nothing else has such a number
    return 0.0, of.size - 1e-9, False
