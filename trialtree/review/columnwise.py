"""The columns of two splits, one by one: what drifted, and what gives the target away."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from stages import tables, targets
from stages.batches import Part
from stages.tables import PARTS, Column, Columns
from trialtree.review import drift, leakage
from trialtree.review.drift import Drift

if TYPE_CHECKING:
    import pyarrow as pa

_AT_ONCE = 20_000_000  # values held


@dataclass(frozen=True)
class Looked:
    """What a look at each column found."""

    drifts: Sequence[Drift] = ()  # the largest first
    giveaways: Mapping[str, float] = field(default_factory=dict)  # how well a column alone predicts the target
    in_both: Mapping[str, int] = field(default_factory=dict)  # rows of test whose id train has too, by column
    compared: bool = False  # whether base's data were here
    test_rows: int = 0  # of head
    missing: Mapping[str, float] = field(default_factory=dict)  # share of head's rows without a value, by column


def changed(base: Columns, head: Columns) -> dict[str, list[Column]]:
    """Return the columns that head has more, less, and of another type."""
    before, now = ({column.name: column for column in side} for side in (base, head))
    return {
        "added": [column for name, column in now.items() if name not in before],
        "removed": [column for name, column in before.items() if name not in now],
        "of another type": [c for name, c in now.items() if name in before and before[name].type != c.type],
    }


def look(head: Path, base: Path | None) -> Looked:
    """Look at each column of head's split, and how it differs from base's where there is one.

    Raises:
        DataError: a split is damaged.
    """
    columns = tables.read_columns(head)
    target = columns.target
    others = {column.name: column.type for column in tables.read_columns(base)} if base else {}
    actual = _joined(head, [target], ("train", "test")).column(target.name)
    classes = target.type != "number" and not (target.type == "integer" and _many(actual))
    wanted = targets.values(_table(target, actual), target, "classification" if classes else "regression")
    drifts, giveaways, in_both, missing = [], {}, {}, {}
    for column, of_head, of_base in _columns(head, base, columns, others):
        if of_base is not None:
            drifts.append(drift.drift(column, of_base(PARTS), of_head(PARTS)))
        missing[column.name] = _missing(of_head(PARTS))
        if column.role == "target":
            continue
        both = of_head(("train", "test"))
        # A date near another tells much of what changes in time, which is no leak.
        if (
            column.role == "feature"
            and column.type != "date"
            and (share := leakage.gives_away(wanted, both, classes=classes)) is not None
        ):
            giveaways[column.name] = share
        if leakage.names_things(column, both) and (rows := leakage.in_both(of_head(("train",)), of_head(("test",)))):
            in_both[column.name] = rows
    drifts.sort(key=lambda one: (-one.index, one.name))
    return Looked(drifts, giveaways, in_both, base is not None, Part("test", head).num_rows, missing)


def _missing(values: "pa.ChunkedArray") -> float:
    return values.null_count / len(values) if len(values) else 0.0


def _many(values: "pa.ChunkedArray") -> bool:
    """Say whether whole numbers are amounts, not labels."""
    import pyarrow.compute as pc

    return bool(pc.count_distinct(values).as_py() > max(20, 0.05 * len(values)))


_Of = Callable[[Sequence[str]], "pa.ChunkedArray"]  # the values of some parts


def _columns(
    head: Path, base: Path | None, columns: Columns, others: Mapping[str, str]
) -> Iterator[tuple[Column, _Of, _Of | None]]:
    """Yield each column with what gives its values, as many columns at a time as may be held."""
    wanted = [column for column in columns if column.role != "row"]
    rows = sum(Part(part, folder).num_rows for folder in (head, base) if folder for part in PARTS)
    at_once = max(1, _AT_ONCE // max(rows, 1))
    for start in range(0, len(wanted), at_once):
        some = wanted[start : start + at_once]
        shared = [column for column in some if others.get(column.name) == column.type]
        of_head = {part: Part(part, head).read(some) for part in PARTS}
        of_base = {part: Part(part, base).read(shared) for part in PARTS} if base and shared else {}
        for column in some:
            yield column, _of(of_head, column), _of(of_base, column) if column in shared else None


def _of(parts: Mapping[str, "pa.Table"], column: Column) -> _Of:
    import pyarrow as pa

    def values(names: Sequence[str]) -> "pa.ChunkedArray":
        found = [parts[name].column(column.name) for name in names]
        return pa.chunked_array([chunk for one in found for chunk in one.chunks], type=found[0].type)

    return values


def _joined(folder: Path, columns: Sequence[Column], parts: Sequence[str]) -> "pa.Table":
    import pyarrow as pa

    return pa.concat_tables(Part(part, folder).read(columns) for part in parts)


def _table(column: Column, values: "pa.ChunkedArray") -> "pa.Table":
    import pyarrow as pa

    return pa.table({column.name: values})
