"""What `--where` asks of a run, as a tree, and whether a run is so.

    a comparison    name, operator, value
    and, or, not    of these

An answer is yes, no or unknown (None), as in SQL: what a run does not have is
neither above nor below a number, nor is NaN, and not(unknown) is unknown.
"""

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["params", "metrics", "tags", "status", "name"]
Value = str | float
Facts = Mapping[tuple[str, str], Value]  # of a run, by kind and name; status and name have the name ""

ORDERS: Mapping[str, Callable[[Value, Value], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?(inf|infinity)|nan", re.IGNORECASE)


@dataclass(frozen=True)
class Name:
    """What is compared."""

    kind: Kind
    key: str = ""  # of a param, metric or tag
    column: int = 1  # in the expression, from 1


@dataclass(frozen=True)
class Compare:
    """A name against a value."""

    name: Name
    operator: str  # =, !=, <, <=, >, >=
    value: Value

    def holds(self, facts: Facts) -> bool | None:
        """Say whether a run is so."""
        return compared(facts.get((self.name.kind, self.name.key)), self.operator, self.value)


@dataclass(frozen=True)
class In:
    """A name against several values."""

    name: Name
    values: tuple[Value, ...]

    def holds(self, facts: Facts) -> bool | None:
        """Say whether a run has one of them."""
        had = facts.get((self.name.kind, self.name.key))
        return None if had is None else any(compared(had, "=", value) for value in self.values)


@dataclass(frozen=True)
class Like:
    """A name against a pattern, in which % is any text and _ any character."""

    name: Name
    pattern: str

    def holds(self, facts: Facts) -> bool | None:
        """Say whether a run's text is so."""
        had = facts.get((self.name.kind, self.name.key))
        if had is None:
            return None
        parts = (".*" if c == "%" else "." if c == "_" else re.escape(c) for c in self.pattern)
        return re.fullmatch("".join(parts), str(had), re.DOTALL) is not None


@dataclass(frozen=True)
class Not:
    """The opposite."""

    of: "Expression"

    def holds(self, facts: Facts) -> bool | None:
        """Say whether a run is not so."""
        inner = self.of.holds(facts)
        return None if inner is None else not inner


@dataclass(frozen=True)
class All:
    """And."""

    of: tuple["Expression", ...]

    def holds(self, facts: Facts) -> bool | None:
        """Say whether a run is all of them."""
        answers = {each.holds(facts) for each in self.of}
        return False if False in answers else None if None in answers else True


@dataclass(frozen=True)
class AnyOf:
    """Or."""

    of: tuple["Expression", ...]

    def holds(self, facts: Facts) -> bool | None:
        """Say whether a run is one of them."""
        answers = {each.holds(facts) for each in self.of}
        return True if True in answers else None if None in answers else False


Expression = Compare | In | Like | Not | All | AnyOf


def number(value: Value) -> float | None:
    """Return a number, or the one that a text is; None of another text."""
    if not isinstance(value, str):
        return value
    return float(value) if _NUMBER.fullmatch(value) else None


def compared(had: Value | None, sign: str, wanted: Value) -> bool | None:
    """Say whether what a run has is so.

    As numbers where `wanted` is one, or where both are and the question is
    which is greater; else as texts.
    """
    if had is None:
        return None
    if sign in ORDERS:
        one, other = number(had), number(wanted)
        if one is None or other is None:
            return None if isinstance(wanted, float) else ORDERS[sign](str(had), str(wanted))
        return None if math.isnan(one) or math.isnan(other) else ORDERS[sign](one, other)
    if isinstance(wanted, str):
        same = str(had) == wanted
    else:
        value = number(had)
        same = value is not None and (value == wanted or (math.isnan(value) and math.isnan(wanted)))
    return same if sign == "=" else not same
