"""The points of a trial's curves, as metrics with a history."""

import csv
import io
import math
from collections.abc import Iterator

Point = tuple[str, float, int]  # a metric's name, its value, its step

_COUNTS = ("fold", "rows_train", "rows")


def points(curves: bytes, folds: bytes) -> list[Point]:
    """Return the points of reports/curves.csv and reports/folds.csv: `curve.LABEL` by step, `fold.METRIC` by fold.

    A file that is empty, or cut off in its last line, gives the points that it has.
    """
    found = [
        (f"curve.{row['label']}", value, step)
        for row in _rows(curves)
        if (step := _number(row.get("step"))) is not None and (value := _value(row.get("value"))) is not None
    ]
    for row in _rows(folds):
        fold = _number(row.get("fold"))
        for name, text in row.items():
            value = _value(text)
            if fold is not None and name not in _COUNTS and value is not None:
                found.append((f"fold.{name}", value, fold))
    return found


def _rows(content: bytes) -> Iterator[dict[str, str]]:
    whole = content[: content.rfind(b"\n") + 1].decode("utf-8", errors="replace")
    yield from csv.DictReader(io.StringIO(whole))


def _number(text: str | None) -> int | None:
    return int(text) if text and text.lstrip("-").isdigit() else None


def _value(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) or text else None
