"""What a value is drawn from: Azure ML's expressions, taken literally, and `int` and `float` besides.

Each takes a number u in (0, 1) to what is drawn, before any rounding (`raw`),
and that to the value which is written.
"""

import math
from collections.abc import Mapping
from decimal import Decimal
from statistics import NormalDist
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field, model_validator

from stages import params
from stages.params import shown

Raw = int | float

_EXPONENT = 700  # exp(709) is the last that a float holds
_FAR = 9  # standard deviations that no draw exceeds
_CLOSE = 1e-9  # relative: a number that was written and read, or rounded by a person
_STANDARD = NormalDist()


def _number(value: Any) -> Any:
    if not is_number(value):
        raise ValueError("must be a number")
    return value


def is_number(value: Any) -> bool:
    """Say whether a value is a number that can be drawn: true is none, and neither is infinity."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


Number = Annotated[int | float, BeforeValidator(_number)]
Positive = Annotated[Number, Field(gt=0)]


class Expression(params.Section):
    """What values are drawn from."""

    name: ClassVar[str]  # in params.yaml
    short: ClassVar[tuple[str, ...]]  # the fields that a list in their place gives, in order

    @property
    def size(self) -> int | None:
        """How many values there are; None where there is no end of them."""
        return None

    def at(self, place: int) -> Raw:
        """Return what would be drawn for the value at a place, of a finite number."""
        raise NotImplementedError(place)

    def draw(self, u: float) -> Raw:
        """Return what u in (0, 1) gives."""
        raise NotImplementedError(u)

    def value(self, raw: Raw) -> Any:
        """Return the value to write."""
        return raw

    def find(self, value: Any) -> Raw | None:
        """Return what would be drawn for a value; None where it cannot be."""
        raise NotImplementedError(value)


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
            inside = low - abs(low) * _CLOSE <= value <= high + abs(high) * _CLOSE
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


class RandInt(Expression):
    """A whole number from 0 up to, but not including, upper; which are next to each other does not matter."""

    name: ClassVar[str] = "randint"
    short: ClassVar[tuple[str, ...]] = ("upper",)
    upper: Annotated[int, Field(ge=1)]

    @property
    def size(self) -> int:
        return self.upper

    def at(self, place: int) -> int:
        return place

    def draw(self, u: float) -> int:
        return min(int(u * self.upper), self.upper - 1)

    def find(self, value: Any) -> int | None:
        return int(value) if is_number(value) and value == int(value) and 0 <= value < self.upper else None


class Stepped(Expression):
    """A number from low to high, both included; with step, low + step * k; with log, evenly by its logarithm."""

    short: ClassVar[tuple[str, ...]] = ("low", "high")
    low: int | float
    high: int | float
    step: int | float | None = None
    log: bool = False

    @model_validator(mode="after")
    def _hold_something(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low must be less than high, got {shown(self.low)} and {shown(self.high)}")
        if self.log and self.low <= 0:
            raise ValueError(f"low must be more than 0 with log: true, got {shown(self.low)}")
        if self.step is not None and self.step > self.high - self.low:
            raise ValueError(f"step must be at most high - low, got {shown(self.step)}")
        return self

    @property
    def size(self) -> int | None:
        if self.step is None:
            return None
        return int((_exact(self.high) - _exact(self.low)) // _exact(self.step)) + 1

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the greatest number before rounding: half a step beyond the values at the ends."""
        if self.step is None:
            return float(self.low), float(self.high)
        low = self.low - self.step / 2
        return max(low, self.low / 2) if self.log else low, self.at((self.size or 1) - 1) + self.step / 2

    def at(self, place: int) -> Raw:
        return float(_exact(self.low) + _exact(self.step or 0) * place)

    def draw(self, u: float) -> Raw:
        if self.log:
            low, high = (math.log(bound) for bound in self.bounds)
            return math.exp(low + (high - low) * u)
        if self.size is not None:
            return self.at(min(int(u * self.size), self.size - 1))
        return self.low + (self.high - self.low) * u

    def value(self, raw: Raw) -> Raw:
        if self.size is None or self.step is None:
            return min(max(float(raw), float(self.low)), float(self.high))
        return self.at(min(max(round((raw - self.low) / self.step), 0), self.size - 1))

    def find(self, value: Any) -> Raw | None:
        if not is_number(value):
            return None
        near = self.value(value)
        return near if math.isclose(near, value, rel_tol=_CLOSE, abs_tol=1e-12) else None


class Float(Stepped):
    """A number between two values."""

    name: ClassVar[str] = "float"
    low: Number
    high: Number
    step: Positive | None = None


class Int(Stepped):
    """A whole number between two values."""

    name: ClassVar[str] = "int"
    low: int
    high: int
    step: Annotated[int, Field(ge=1)] = 1

    def at(self, place: int) -> int:
        return self.low + self.step * place


def multiple(count: int, q: int | float) -> int | float:
    """Return count * q, as a person writes it: 3 times 0.1 is 0.3."""
    return count * q if isinstance(q, int) else float(_exact(q) * count)


def is_multiple(value: int | float, q: int | float) -> bool:
    """Say whether a number is a multiple of q, but for a person's rounding."""
    return math.isclose(multiple(round(value / q), q), value, rel_tol=_CLOSE, abs_tol=1e-12)


def _exact(number: int | float) -> Decimal:
    return Decimal(repr(number))


NUMBERS: Mapping[str, type[Expression]] = {
    cls.name: cls
    for cls in (
        RandInt, Uniform, QUniform, LogUniform, QLogUniform, Normal, QNormal, LogNormal, QLogNormal, Int, Float,
    )
}  # fmt: skip
