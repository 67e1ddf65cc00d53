"""Cells to numbers: one column's values as the model counts with them, and what is wrong with those it cannot take.

Numbers are themselves, a date is days since 1970-01-01 in UTC, a category
its place among the training rows' categories, a gap NaN; as in `stages.matrices`.
"""

import math
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson

from stages.matrices import Matrix
from trialtree.serving.columns import KINDS, Field, Schema
from trialtree.serving.faults import Fault, cut, shown

NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
GAP = "is missing, and the table that the model was trained on had no gap here"
_INFINITE = "must be finite"
_EXACT = 2**53  # the whole numbers up to here are all float64's
_LARGE = f"must be at most {_EXACT}, beyond which float64 cannot tell whole numbers apart"
_EPOCH = datetime(1970, 1, 1)  # of UTC, as the model has dates: without a zone
_DIGITS = 400  # of a text that Python reads as a whole number without delay
_DAY = 86_400_000_000.0  # microseconds
_PLAIN = b"0123456789.,+-eE"
_WITH_GAPS = _PLAIN + b"nul"
_NAMED = 8  # categories in a message
_TRUTH = {"False": "false", "FALSE": "false", "True": "true", "TRUE": "true"}  # as pandas and R write it into CSV


class Faults(list[Fault]):
    """The faults of a table: the first `limit`, and how many there are."""

    def __init__(self, limit: int | None = None) -> None:
        super().__init__()
        self.limit, self.total = limit, 0

    @property
    def full(self) -> bool:
        """Whether further ones are only counted."""
        return self.limit is not None and len(self) >= self.limit

    def add(self, row: int | None, column: str | None, reason: str) -> None:
        """Count a fault, and keep it if it is one of the first."""
        self.total += 1
        if not self.full:
            self.append(Fault(row, column, reason))


@dataclass(frozen=True)
class Taken:
    """Rows as a model counts with them (rows, columns), and the faults among them, whose cells are NaN."""

    values: Matrix
    faults: Faults = field(default_factory=Faults)


class _BadError(Exception):
    """A cell that a column does not take; the message says why."""


def column(each: Field, values: Sequence[Any], faults: Faults, unknown: bool) -> Matrix:
    """Return the values (rows,) of a column, given as JSON has them."""
    if each.numeric and set(map(type, values)) <= {int, float}:
        numbers = np.array(values, dtype=np.float64)
        if each.type == "number" or np.abs(numbers).max(initial=0) < _EXACT:
            check_numbers(each, numbers, faults)
            return numbers
    if not each.numeric and each.type != "date" and (found := _known(each, values)) is not None:
        return found
    read = _READERS[each.type]
    return _each(each, values, faults, lambda value: read(each, value, unknown))


def texts(each: Field, values: Sequence[str], faults: Faults, unknown: bool) -> Matrix:
    """Return the values (rows,) of a column, given as the cells of a CSV file; blanks around one mean nothing."""
    if not each.numeric and each.type != "date" and (found := _known(each, values)) is not None:
        return found
    if each.numeric and (numbers := _plain(each, values)) is not None:
        return numbers
    values = [text if text is None or text in each.codes else text.strip() for text in values]
    if not each.numeric:
        read = _READERS[each.type]
        return _each(each, values, faults, lambda value: read(each, value, unknown))
    return _each(each, values, faults, lambda value: _text_number(each, value))


def _known(each: Field, values: Sequence[Any]) -> Matrix | None:
    """Return the numbers of categories where all of them are known; None else."""
    try:
        return np.array([each.codes[value] for value in values], dtype=np.float64)
    except (KeyError, TypeError):
        return None


def _plain(each: Field, values: Sequence[str]) -> Matrix | None:
    """Return finite numbers and allowed gaps, read at once; None where a cell is anything else."""
    if None in values:
        return None
    joined = ",".join([text or "null" for text in values] if each.gaps else values).encode()
    if joined.translate(None, _WITH_GAPS if each.gaps else _PLAIN) or joined.count(b",") != len(values) - 1:
        return None
    try:
        numbers = np.array(orjson.loads(b"[%b]" % joined), dtype=np.float64)
    except orjson.JSONDecodeError:
        return None
    if len(numbers) != len(values) or (each.gaps and joined.count(b"null") != values.count("")):
        return None  # one empty cell alone is no list of one, and the text null is no gap
    known = numbers[~np.isnan(numbers)] if each.gaps else numbers
    if each.type == "integer" and not (np.abs(known).max(initial=0) < _EXACT and (known == np.floor(known)).all()):
        return None
    return numbers if np.isfinite(known).all() else None


def _each(each: Field, values: Iterable[Any], faults: Faults, read: Callable[[Any], float]) -> Matrix:
    """Return what `read` makes of each value, and NaN for a gap or a fault."""
    found = []
    for row, value in enumerate(values):
        number = math.nan
        if value is None or (value == "" and "" not in each.codes):
            if not each.gaps:
                faults.add(row, each.name, GAP)
        else:
            try:
                number = read(value)
            except _BadError as error:
                faults.add(row, each.name, str(error))
        found.append(number)
    return np.array(found, dtype=np.float64)


def check_numbers(each: Field, found: Matrix, faults: Faults) -> None:
    """Add the faults of a column of numbers (rows,) without gaps, and make NaN of them."""
    if not np.isfinite(found).all():
        _mark(each, found, ~np.isfinite(found), _INFINITE, faults)
    if each.type == "integer":
        with np.errstate(invalid="ignore"):
            odd = np.isfinite(found) & (found != np.floor(found))
            large = np.abs(found) > _EXACT
        if odd.any():
            _mark(each, found, odd, lambda value: f"must be a whole number, got {float(value)!r}", faults)
        if large.any():
            _mark(each, found, large, _LARGE, faults)


def _mark(each: Field, found: Matrix, bad: Any, reason: str | Callable[[Any], str], faults: Faults) -> None:
    for row in np.flatnonzero(bad):
        faults.add(int(row), each.name, reason if isinstance(reason, str) else reason(found[row]))
    found[bad] = np.nan


def _number(each: Field, value: Any, _: bool) -> float:
    if type(value) not in (int, float):
        raise _BadError(f"must be {KINDS[each.type]}, got {shown(value)}")
    if each.type == "integer" and abs(value) > _EXACT:  # before float64 rounds it
        raise _BadError(_LARGE)
    return _checked(each, float(value))


def _text_number(each: Field, text: str) -> float:
    if NUMBER.fullmatch(text):
        if each.type == "integer" and text.lstrip("+-").isdigit() and len(text) < _DIGITS:
            return _number(each, int(text), False)
        return _checked(each, float(text))
    if text.lower() == "nan":
        if each.gaps:
            return math.nan
        raise _BadError(GAP)
    raise _BadError(
        _INFINITE
        if text.lower().lstrip("+-") in ("inf", "infinity")
        else f"must be {KINDS[each.type]}, got {cut(text)!r}"
    )


def _checked(each: Field, number: float) -> float:
    """Return a number that the column may hold."""
    if not math.isfinite(number):
        raise _BadError(_INFINITE)
    if each.type == "integer":
        if not number.is_integer():
            raise _BadError(f"must be a whole number, got {number!r}")
        if abs(number) > _EXACT:
            raise _BadError(_LARGE)
    return number


def _date(each: Field, value: Any, _: bool) -> float:
    if not isinstance(value, str):
        raise _BadError(f"must be {KINDS[each.type]}, got {shown(value)}")
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo:
            moment = moment.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        raise _BadError(f"must be {KINDS[each.type]}, got {cut(value)!r}") from None
    past = moment - _EPOCH
    return float((past.days * 86_400 + past.seconds) * 1_000_000 + past.microseconds) / _DAY


def _category(each: Field, value: Any, unknown: bool) -> float:
    if isinstance(value, bool):
        value = "true" if value else "false"
    if not isinstance(value, str):
        raise _BadError(f"must be {KINDS[each.type]}, got {shown(value)}")
    if (code := each.codes.get(value)) is not None:
        return code
    if not (bare := value.strip()):  # as training reads a text
        if each.gaps:
            return math.nan
        raise _BadError(GAP)
    if bare in _TRUTH and each.codes.keys() == set(_TRUTH.values()):
        bare = _TRUTH[bare]
    if (code := each.codes.get(bare)) is not None:
        return code
    if unknown or each.type == "text":
        return float(len(each.categories))
    raise _BadError(unknown_category(each, bare))


def unknown_category(each: Field, value: str) -> str:
    """Return what is said of a category that the training rows did not have."""
    return f"has no category {cut(value)!r}; it has: {_some(each.categories)}"


def _some(names: Collection[str]) -> str:
    listed = [cut(name) for name in list(names)[:_NAMED]]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(listed)}{more}"


_READERS: dict[str, Callable[[Field, Any, bool], float]] = {
    "integer": _number, "number": _number, "date": _date, "category": _category, "text": _category,
}  # fmt: skip


def check_names(schema: Schema, names: Sequence[Any], faults: Faults) -> bool:
    """Add the faults of a table's column names; whether there are none."""
    before = faults.total
    for name in names:
        if not isinstance(name, str):
            faults.add(None, None, f"a column's name must be a text, got {shown(name)}")
        elif name not in schema.places:
            if faults.full:
                faults.total += 1
            else:
                faults.add(None, None, f"there is no column {cut(name)!r}; the model takes: {_some(schema.names)}")
    given = [name for name in names if isinstance(name, str)]
    if (twice := repeated(given)) is not None:
        faults.add(None, cut(twice), "is there twice")
    known = set(given)
    for each in schema.fields:
        if each.name not in known and not each.gaps:
            faults.add(None, each.name, "is missing")
    return faults.total == before


def repeated(names: Sequence[str]) -> str | None:
    """Return the first name that was there before; None where all differ."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
