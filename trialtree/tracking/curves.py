"""The points of reports/curves.csv and reports/folds.csv, as MLflow's metrics with their history."""

import csv
import io
from collections.abc import Iterator

_OF_FOLDS = ("fold", "rows_train", "rows")  # columns of folds.csv that are no metric

Point = tuple[str, float, int]  # name of the metric, value, step


def points(curves_csv: bytes, folds_csv: bytes) -> list[Point]:
    """Return `curve.<label>` by step and `fold.<metric>` by the fold's number, in the files' order.

    A file that is empty, cut off or of another kind gives the points that it has.
    """
    return [*_of_curves(curves_csv), *_of_folds(folds_csv)]


def _of_curves(content: bytes) -> Iterator[Point]:
    for row in _rows(content):
        point = _point(f"curve.{row.get('label')}", row.get("value"), row.get("step"))
        if point and row.get("label"):
            yield point


def _of_folds(content: bytes) -> Iterator[Point]:
    for row in _rows(content):
        for name, value in row.items():
            point = _point(f"fold.{name}", value, row.get("fold")) if name not in _OF_FOLDS else None
            if point:
                yield point


def _rows(content: bytes) -> Iterator[dict[str, str]]:
    """Yield the rows under the header; the last line counts only with its line end."""
    whole = content[: content.rfind(b"\n") + 1].decode(errors="replace")
    for row in csv.DictReader(io.StringIO(whole, newline=""), restkey=""):
        yield {name: value for name, value in row.items() if name and isinstance(value, str)}


def _point(name: str, value: str | None, step: str | None) -> Point | None:
    """Return a point; None where a cell is no number."""
    try:
        return name, float(value or ""), int(step or "")
    except ValueError:
        return None
