"""Columns of a table as lists that JSON has: what they hold is judged by the endpoint, which names row and column."""

import math
from typing import Any

from trialtree.calling.described import Column
from trialtree.serving.cells import NUMBER

_EXACT = 18  # digits that fit into 64 bits
_GAPS = ("", "nan")


def of_column(column: Column, found: Any, *, texts: bool) -> list[Any]:
    """Return the values of a column (a pyarrow.ChunkedArray); `texts`: they are the cells of a CSV file.

    A gap is None. What is no number where there must be one stays as it is.
    """
    import pyarrow as pa

    if texts:
        return _of_texts(column, found)
    kind = found.type
    if pa.types.is_dictionary(kind):
        found, kind = found.cast(kind.value_type), kind.value_type
    if pa.types.is_decimal(kind):
        found = found.cast(pa.float64())
    elif pa.types.is_timestamp(kind):
        found = found.cast(pa.timestamp("us", kind.tz), safe=False)
    values = found.to_pylist()
    if pa.types.is_floating(found.type):
        return [_number(value) for value in values]
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return [value if value is None else value.isoformat() for value in values]
    return [value if isinstance(value, str | int | None) else str(value) for value in values]


def _number(value: float | None) -> float | str | None:
    if value is None or math.isnan(value):
        return None
    return str(value) if math.isinf(value) else value


def _of_texts(column: Column, found: Any) -> list[Any]:
    if column.type in ("integer", "number"):
        quick = _quick(found, column.type)
        return [_cell(text) for text in found.to_pylist()] if quick is None else quick
    return [text.strip() or None for text in found.to_pylist()]


def _quick(found: Any, kind: str) -> list[Any] | None:
    """Return numbers where all cells are plain ones; None else."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        values = found.cast(pa.int64() if kind == "integer" else pa.float64())
    except pa.ArrowInvalid:
        return None
    if kind == "number" and not pc.all(pc.is_finite(values)).as_py():
        return None
    listed: list[Any] = values.to_pylist()
    return listed


def _cell(text: str) -> float | str | None:
    text = text.strip()
    if text.lower() in _GAPS:
        return None
    if not NUMBER.fullmatch(text):
        return text
    whole = text.lstrip("+-").isdecimal() and len(text) <= _EXACT
    number = int(text) if whole else float(text)
    return number if math.isfinite(number) else text
