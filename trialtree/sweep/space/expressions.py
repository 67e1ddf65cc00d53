"""What a value is drawn from: what all of Azure ML's expressions and ours have in common.

Each takes a number u in (0, 1) to what is drawn, before any rounding (`raw`),
and that to the value which is written.
"""

import math
import sys
from decimal import Decimal
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from stages import params

Raw = int | float

MOST = 2**53  # steps of a range: a float tells no more apart
CLOSE = 1e-9  # relative: a number that was written and read, or rounded by a person


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


def too_far(number: int | float, step: int | float | None) -> bool:
    """Say whether a number is more steps from 0 than can be told apart, or no number that can be reckoned with."""
    return abs(number) > sys.float_info.max / 2 or (step is not None and abs(number) > step * MOST)


def exact(number: int | float) -> Decimal:
    """Return a number as it is written."""
    return Decimal(repr(number))
