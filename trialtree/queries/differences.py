"""How sides differ: params, metrics, data, code."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trialtree.queries.sides import SIZES, Side


@dataclass(frozen=True)
class Row:
    """One name, with what each side has of it; None where it has none."""

    name: str
    values: list[Any]

    @property
    def differs(self) -> bool:
        """Whether the sides have it differently."""
        return any(value != self.values[0] for value in self.values)

    def changes(self) -> list[float | None]:
        """Return the difference of each number to the first."""
        first = self.values[0]
        return [None if value is None or first is None else value - first for value in self.values]


@dataclass(frozen=True)
class Comparison:
    """Sides, and the rows in which they differ; of metrics, all rows."""

    sides: Sequence[Side]
    params: list[Row]
    metrics: list[Row]
    data: list[Row]
    code: list[Row]

    @property
    def notes(self) -> list[str]:
        """What is missing, or not what it seems."""
        return [note for side in self.sides for note in side.notes]

    def as_json(self) -> dict[str, Any]:
        """Return what `--json` prints: each list in the order of the revisions."""
        return {
            "revisions": [{"name": side.name, "commit": side.commit} for side in self.sides],
            "params": [{"name": row.name, "values": row.values} for row in self.params],
            "metrics": [{"name": row.name, "values": row.values, "differences": row.changes()} for row in self.metrics],
            "data": [{"name": row.name, "values": row.values} for row in self.data],
            "code": [{"name": row.name, "values": row.values} for row in self.code],
            "notes": self.notes,
        }


def compare(sides: Sequence[Side]) -> Comparison:
    """Return how sides differ."""
    data = _differing(sides, lambda side: side.data)
    return Comparison(
        sides,
        params=_differing(sides, lambda side: side.params),
        metrics=_rows(sides, lambda side: side.metrics),
        data=[row for row in data if row.name not in SIZES or _known_to_differ(row)],
        code=sorted(_differing(sides, lambda side: side.code), key=lambda row: row.name),
    )


def _known_to_differ(row: Row) -> bool:
    return len({value for value in row.values if value is not None}) > 1


def _rows(sides: Sequence[Side], of: Callable[[Side], Mapping[str, Any]]) -> list[Row]:
    names = dict.fromkeys(name for side in sides for name in of(side))
    return [Row(name, [of(side).get(name) for side in sides]) for name in names]


def _differing(sides: Sequence[Side], of: Callable[[Side], Mapping[str, Any]]) -> list[Row]:
    return [row for row in _rows(sides, of) if row.differs]
