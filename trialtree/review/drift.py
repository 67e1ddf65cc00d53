"""How far a column's values have moved between two versions of the data.

The population stability index: the sum of (head - base) log(head / base) over
the shares of bins, half a row added to each, less what chance gives equal
distributions on so many rows. Bins are ten of equal count in base, what is
below and above all of base, and the gaps; of few different numbers each value;
of categories the values, rare ones in one bin. Under 0.1 is taken as no change,
over 0.25 as a large one (Siddiqi 2006, Credit Risk Scorecards).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stages.tables import Column

if TYPE_CHECKING:
    import pyarrow as pa

Array = NDArray[Any]

SOME, LARGE = 0.1, 0.25  # of the index
_BINS = 10
_BARS = 10  # of a sparkline
_FEW = 20  # different numbers of which each has a bin
_RARE = 5  # rows of both sides below which a category is rare
_BLOCKS = "▁▂▃▄▅▆▇█"
_SHOWN = 3  # categories named


@dataclass(frozen=True)
class Drift:
    """How a column has moved."""

    name: str
    type: str
    index: float
    missing: tuple[float, float]  # share of the rows, in base and head
    middle: tuple[str, str]  # the median, or the most frequent value
    sparks: tuple[str, str] | None  # the spread, over the same bins
    new: list[str]  # categories that base lacks
    gone: list[str]


def drift(column: Column, base: "pa.ChunkedArray", head: "pa.ChunkedArray") -> Drift:
    """Return how a column has moved; each side's values are (rows,) of one type."""
    gaps = tuple(_share(side.null_count, len(side)) for side in (base, head))
    missing = (gaps[0], gaps[1])
    if column.type in ("category", "text"):
        return _of_texts(column, base, head, missing)
    sides = numbers(base), numbers(head)
    known = [side[np.isfinite(side)] for side in sides]
    edges = _edges(known[0])
    counts = [
        np.append(np.bincount(np.searchsorted(edges, k), minlength=len(edges) + 1), len(s) - len(k))
        for k, s in zip(known, sides, strict=True)
    ]
    middles = [_middle(column, k) for k in known]
    return Drift(
        column.name,
        column.type,
        index(counts[0], counts[1]),
        missing,
        (middles[0], middles[1]),
        _sparks(*known),
        [],
        [],
    )


def _edges(known: Array) -> Array:
    """Return the upper ends of bins of base's finite values; what is above the last is one more."""
    if not len(known):
        return np.empty(0)
    values = np.unique(known)
    if len(values) > _FEW:
        inner = np.quantile(known, np.linspace(0, 1, _BINS + 1)[1:-1])
        return np.unique([np.nextafter(values[0], -np.inf), *inner, values[-1]])
    return np.sort(np.concatenate([np.nextafter(values, -np.inf), values]))


def index(base: Array, head: Array) -> float:
    """Return the population stability index of the counts (bins,) of two sides, less what chance gives; at least 0."""
    there = (base + head) > 0
    rows = base.sum(), head.sum()
    if there.sum() < 2 or not all(rows):
        return 0.0
    before, now = (((side[there] + 0.5) / (side[there] + 0.5).sum()) for side in (base, head))
    by_chance = (there.sum() - 1) * (1 / rows[0] + 1 / rows[1])
    return max(0.0, float(((now - before) * np.log(now / before)).sum() - by_chance))


def _of_texts(column: Column, base: "pa.ChunkedArray", head: "pa.ChunkedArray", missing: tuple[float, float]) -> Drift:
    counts = _counted(base), _counted(head)
    names = list(dict.fromkeys([*counts[0], *counts[1]]))
    both = [np.array([side.get(name, 0) for name in names], dtype=float) for side in counts]
    most = [max((n for n in side if n is not None), key=side.__getitem__, default="–") for side in counts]
    named = [name for name in sorted(counts[0], key=lambda n: -counts[0][n]) if name is not None]
    top = [name for name in names if name is not None] if len(names) <= _BARS else named[:_BARS]
    sparks = tuple(_spark(np.array([side.get(name, 0) for name in top], dtype=float)) for side in counts)
    return Drift(
        column.name, column.type, index(*_pooled(*both)), missing, (most[0], most[1]),
        (sparks[0], sparks[1]) if top else None,
        *([str(n) for n in one if n is not None and n not in other] for one, other in (counts[::-1], counts)),
    )  # fmt: skip


def _pooled(base: Array, head: Array) -> tuple[Array, Array]:
    """Return counts (bins,) with rare values in one bin."""
    rare = base + head < _RARE
    base, head = (np.append(side[~rare], side[rare].sum()) for side in (base, head))
    return base, head


def _counted(values: "pa.ChunkedArray") -> dict[str | None, int]:
    """Return how often each value is there."""
    import pyarrow.compute as pc

    found = pc.value_counts(values)
    return dict(zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True))


def numbers(values: "pa.ChunkedArray") -> Array:
    """Return numbers or times (rows,), NaN for a gap."""
    import pyarrow as pa

    if pa.types.is_timestamp(values.type):
        values = values.cast(pa.int64())
    return np.asarray(values.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)


def _middle(column: Column, known: Array) -> str:
    if not len(known):
        return "–"
    middle = float(np.median(known))
    if column.type == "date":
        return str(np.datetime64(int(middle), "us").astype("datetime64[s]"))
    return f"{middle:,.6g}"


def _sparks(base: Array, head: Array) -> tuple[str, str] | None:
    """Return how the values of both spread between the same ends, those of the middle 98 % of base and head."""
    if not len(base) or not len(head):
        return None
    ends = np.quantile(base, [0.01, 0.99]), np.quantile(head, [0.01, 0.99])
    low, high = min(ends[0][0], ends[1][0]), max(ends[0][1], ends[1][1])
    if not low < high:
        return None
    counted = [np.histogram(np.clip(side, low, high), bins=_BARS, range=(low, high))[0] for side in (base, head)]
    return _spark(counted[0]), _spark(counted[1])


def _spark(counts: Array) -> str:
    most = counts.max(initial=0)
    heights = np.zeros(len(counts), int) if not most else np.ceil(counts / most * (len(_BLOCKS) - 1)).astype(int)
    return "".join(_BLOCKS[height] for height in heights)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
