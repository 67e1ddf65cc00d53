"""Uniform and normal distributions, their exponentials, and both rounded to multiples of q: Azure ML's, literally."""

import math
from statistics import NormalDist
from typing import Any, ClassVar, Self

from pydantic import model_validator

from stages.params import shown
from trialtree.sweep.space.expressions import CLOSE, Expression, Number, Positive, Raw, exact, is_number, too_far

_EXPONENT = 700  # exp(709) is the last that a float holds
_FAR = 9  # standard deviations that no draw exceeds
_STANDARD = NormalDist()


class Drawn(Expression):
    """A number from a distribution, or the exponential of one; with q, rounded half to even to a multiple of it."""

    exponential: ClassVar[bool] = False
    q: Positive | None = None  # whole numbers where it is one

    def inner(self, u: float) -> float:
        """Return what the distribution gives for u."""
        raise NotImplementedError(u)

    def draw(self, u: float) -> float:
        return math.exp(self.inner(u)) if self.exponential else self.inner(u)

    def value(self, raw: Raw) -> Raw:
        return float(raw) if self.q is None else multiple(round(raw / self.q), self.q)

    def find(self, value: Any) -> float | None:
        if not is_number(value) or (self.q is not None and not is_multiple(value, self.q)):
            return None
        if self.exponential and value <= 0:
            return self._at_zero(value)
        return self._inside(value)

    def _at_zero(self, value: Raw) -> float | None:
        """Return what is drawn for 0, to which an exponential may be rounded."""
        return self._inside(value) if self.q is not None and value == 0 else None

    def _inside(self, value: Raw) -> float | None:
        raise NotImplementedError(value)


class Uniform(Drawn):
    """Evenly between two numbers, or between the exponentials of two numbers by their logarithm."""

    name: ClassVar[str] = "uniform"
    short: ClassVar[tuple[str, ...]] = ("min_value", "max_value")
    min_value: Number
    max_value: Number

    @model_validator(mode="after")
    def _hold_something(self) -> Self:
        low, high = self.min_value, self.max_value
        if low >= high:
            raise ValueError(f"min_value must be less than max_value, got {shown(low)} and {shown(high)}")
        if self.exponential and max(-low, high) > _EXPONENT:
            far = low if -low > _EXPONENT else high
            raise ValueError(f"min_value and max_value are exponents: exp({shown(far)}) is no number")
        if any(too_far(bound, self.q) for bound in self.bounds):
            raise ValueError(f"must have at most 2**53 steps of q, got {shown(low)}, {shown(high)} and {shown(self.q)}")
        return self

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the greatest number before rounding."""
        low, high = float(self.min_value), float(self.max_value)
        return (math.exp(low), math.exp(high)) if self.exponential else (low, high)

    @property
    def size(self) -> int | None:
        if self.q is None:
            return None
        low, high = self.bounds
        return round(high / self.q) - round(low / self.q) + 1

    def at(self, place: int) -> float:
        low, high = self.bounds
        assert self.q is not None  # noqa: S101  # without, there is no end of values
        return min(max(float(multiple(round(low / self.q) + place, self.q)), low), high)

    def inner(self, u: float) -> float:
        return self.min_value + (self.max_value - self.min_value) * u

    def _inside(self, value: Raw) -> float | None:
        low, high = self.bounds
        if self.q is not None:
            inside = round(low / self.q) <= round(value / self.q) <= round(high / self.q)
        else:
            inside = low - abs(low) * CLOSE <= value <= high + abs(high) * CLOSE
        return min(max(float(value), low), high) if inside else None


class QUniform(Uniform):
    """Multiples of q; the end points have half the weight of others, and may lie outside of the range."""

    name: ClassVar[str] = "quniform"
    short: ClassVar[tuple[str, ...]] = ("min_value", "max_value", "q")
    q: Positive


class LogUniform(Uniform):
    """exp(uniform): the bounds are exponents."""

    name: ClassVar[str] = "loguniform"
    exponential = True


class QLogUniform(LogUniform):
    """Multiples of q."""

    name: ClassVar[str] = "qloguniform"
    short: ClassVar[tuple[str, ...]] = ("min_value", "max_value", "q")
    q: Positive


class Normal(Drawn):
    """A normal distribution, without bounds, or the exponential of one."""

    name: ClassVar[str] = "normal"
    short: ClassVar[tuple[str, ...]] = ("mu", "sigma")
    mu: Number
    sigma: Positive

    @model_validator(mode="after")
    def _stay_a_number(self) -> Self:
        if self.exponential and abs(self.mu) + _FAR * self.sigma > _EXPONENT:
            far = f"exp({self.mu} + {_FAR} * {self.sigma})"
            raise ValueError(f"mu and sigma are those of the logarithm: {far} is no number")
        last = abs(self.mu) + _FAR * self.sigma
        if too_far(math.exp(last) if self.exponential else last, self.q):
            raise ValueError(f"must have at most 2**53 steps of q, got {shown(self.q)}")
        return self

    def inner(self, u: float) -> float:
        return self.mu + self.sigma * _STANDARD.inv_cdf(u)

    def chance(self, raw: float) -> float:
        """Return the u in [0, 1] that gives what was drawn."""
        inner = (math.log(raw) if raw > 0 else -math.inf) if self.exponential else raw
        return _STANDARD.cdf((inner - self.mu) / self.sigma)

    def _inside(self, value: Raw) -> float | None:
        # Of an exponential that was rounded to 0 nothing else is known; a quarter of q is as likely as any.
        return float(value) if value or not self.exponential or self.q is None else self.q / 4


class QNormal(Normal):
    """Multiples of q."""

    name: ClassVar[str] = "qnormal"
    short: ClassVar[tuple[str, ...]] = ("mu", "sigma", "q")
    q: Positive


class LogNormal(Normal):
    """exp(normal): mu and sigma are those of the logarithm."""

    name: ClassVar[str] = "lognormal"
    exponential = True


class QLogNormal(LogNormal):
    """Multiples of q."""

    name: ClassVar[str] = "qlognormal"
    short: ClassVar[tuple[str, ...]] = ("mu", "sigma", "q")
    q: Positive


def multiple(count: int, q: int | float) -> int | float:
    """Return count * q, as a person writes it: 3 times 0.1 is 0.3."""
    return count * q if isinstance(q, int) else float(exact(q) * count)


def is_multiple(value: int | float, q: int | float) -> bool:
    """Say whether a number is a multiple of q, but for a person's rounding."""
    return math.isclose(multiple(round(value / q), q), value, rel_tol=CLOSE, abs_tol=1e-12)
