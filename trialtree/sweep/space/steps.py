"""Whole numbers and numbers between two values: Azure ML's randint, and `int` and `float` of our own."""

import math
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from stages.params import shown
from trialtree.sweep.space.expressions import CLOSE, MOST, Expression, Number, Positive, Raw, exact, is_number, too_far


class RandInt(Expression):
    """A whole number from 0 up to, but not including, upper; which are next to each other does not matter."""

    name: ClassVar[str] = "randint"
    short: ClassVar[tuple[str, ...]] = ("upper",)
    upper: Annotated[int, Field(ge=1, le=MOST)]

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
        if any(too_far(bound, self.step) for bound in (self.low, self.high)):
            raise ValueError(f"must have at most 2**53 steps, got {shown(self.low)} and {shown(self.high)}")
        if self.step is not None and self.step > self.high - self.low:
            raise ValueError(f"step must be at most high - low, got {shown(self.step)}")
        return self

    @property
    def size(self) -> int | None:
        if self.step is None:
            return None
        return int((exact(self.high) - exact(self.low)) // exact(self.step)) + 1

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the greatest number before rounding: half a step beyond the values at the ends."""
        if self.step is None:
            return float(self.low), float(self.high)
        low = self.low - self.step / 2
        return max(low, self.low / 2) if self.log else low, self.at((self.size or 1) - 1) + self.step / 2

    def at(self, place: int) -> Raw:
        return float(exact(self.low) + exact(self.step or 0) * place)

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
        return near if math.isclose(near, value, rel_tol=CLOSE, abs_tol=1e-12) else None


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
