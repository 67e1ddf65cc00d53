"""The reports of a trial, taken from the file that its stage is writing."""

import csv
import io
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from pathlib import Path
from typing import Literal

Report = tuple[int, float]  # t from 1, value

_NO_METRICS = ("fold", "rows_train", "rows")  # columns of folds.csv


@dataclass(frozen=True)
class Source:
    """Where the reports of a trial are."""

    kind: Literal["curve", "folds"]  # of train's fit, or of evaluate's cross-validation
    names: Collection[str]  # labels of the curve, of which a trial has one; or the folds' column

    @property
    def stage(self) -> str:
        """The stage that writes the file."""
        return "train" if self.kind == "curve" else "evaluate"

    @property
    def file(self) -> Path:
        """The file, in a trial's folder."""
        return Path("reports/curves.csv" if self.kind == "curve" else "reports/folds.csv")


class Tail:
    """Reads on in the file of a stage that is about to begin: what is there now is an earlier trial's.

    The stage puts a file of its own in its place, which may get the earlier one's number on the disk, but not its
    time. A line counts once it has its end. Where the file is written anew, with more columns maybe, reports that are
    known are not told again.
    """

    def __init__(self, folder: Path, source: Source) -> None:
        self._path = folder / source.file
        self._source = source
        self._told = 0  # reports
        self._others: dict[str, None] = {}  # what else is in the file
        self._begin(0)
        try:
            stat = self._path.stat()
            self._stale: tuple[int, int] | None = stat.st_ino, stat.st_mtime_ns
        except OSError:
            self._stale = None

    def _begin(self, node: int) -> None:
        """Read a file from its first line."""
        self._node, self._at = node, 0
        self._header: Sequence[str] = ()
        self._count, self._numbers, self._total = 0, 0, 0.0

    def read(self) -> list[Report]:
        """Return the reports that are new; none where there is no file."""
        try:
            with self._path.open("rb") as file:
                stat = os.fstat(file.fileno())
                if (stat.st_ino, stat.st_mtime_ns) == self._stale:
                    return []
                if stat.st_ino != self._node or stat.st_size < self._at:
                    self._begin(stat.st_ino)
                file.seek(self._at)
                content = file.read()
        except OSError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._at += len(whole)
        rows = csv.reader(io.StringIO(whole.decode(errors="replace"), newline=""))
        new = [report for report in self._reports(rows) if report[0] > self._told]
        self._told += len(new)
        return new

    @classmethod
    def reports(cls, content: bytes, source: Source) -> list[Report]:
        """Return the reports of a file that is whole."""
        rows = csv.reader(io.StringIO(content.decode(errors="replace"), newline=""))
        return list(cls(Path(os.devnull), source)._reports(rows))

    def missed(self) -> str | None:
        """Return, when the stage has ended, why there was no report; None where there was one."""
        if self._told or not self._header:
            return None
        others = ", ".join(self._others) or "nothing"
        return f"{self._source.file} has no {' or '.join(self._source.names)}; it has: {others}"

    def _reports(self, rows: Iterator[list[str]]) -> Iterator[Report]:
        """Yield the reports of some lines."""
        for row in rows:
            if not self._header:
                self._header = row
                continue
            cells = dict(zip(self._header, row, strict=False))
            yield from self._value(cells) if self._source.kind == "curve" else self._mean(cells)

    def _value(self, cells: dict[str, str]) -> Iterator[Report]:
        """Yield the value of a line; nothing where it is of another label."""
        label = cells.get("label", "")
        if label in self._source.names:
            self._count += 1
            yield self._count, _number(cells.get("value"))
        else:
            self._others[label] = None

    def _mean(self, cells: dict[str, str]) -> Iterator[Report]:
        """Yield the mean of the column over the folds so far; nothing where there is no such column."""
        self._others.update(dict.fromkeys(name for name in cells if name not in _NO_METRICS))
        for name in self._source.names:
            if name in cells:
                value = _number(cells[name])
                self._count += 1
                if isfinite(value):
                    self._numbers, self._total = self._numbers + 1, self._total + value
                yield self._count, self._total / self._numbers if isfinite(value) else nan


def _number(text: str | None) -> float:
    """Return a cell's number; NaN where it has none."""
    try:
        return float(text or "nan")
    except ValueError:
        return nan
