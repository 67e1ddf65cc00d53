"""Which rows two splits share: what stayed, moved to another part, changed, came and went.

Rows are the same when all values of the columns that both have are. Of those
left over, one of the same number on both sides has changed; the rest came or
went.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stages import tables
from stages.databases import connection, literal, quoted
from stages.tables import PARTS, ROW, Column, Columns

if TYPE_CHECKING:
    import duckdb

_TOLD = 0.9  # share of rows of different values from which some columns tell rows apart
_SURE = 64  # bits by which two tables' targets must agree to be those of the same rows


@dataclass(frozen=True)
class PartChange:
    """What became of a part: its rows before and now; of those now, where they come from; and those that went."""

    part: str
    before: int
    now: int
    stayed: int
    moved: int  # from another part
    changed: int  # same number, other values
    added: int
    removed: int  # in no part any more


@dataclass(frozen=True)
class Rows:
    """How the rows of two splits differ."""

    parts: Sequence[PartChange]
    learned: int  # rows of head's test part that base's model was trained on


def compare(base: Path, head: Path, spill: Path) -> Rows:
    """Compare the splits in two folders; `spill` is for what does not fit into memory.

    Raises:
        DataError: a split is damaged.
    """
    columns = shared(tables.read_columns(base), tables.read_columns(head))
    with connection(spill) as database:
        for side, folder in (("base", base), ("head", head)):
            _load(database, side, folder, columns)
        database.execute(_PAIRED)
        counts = {
            (before, now, kind): rows
            for before, now, kind, rows in database.execute(
                "SELECT base_part, head_part, kind, count(*) FROM paired GROUP BY ALL"
            ).fetchall()
        }
        learned = database.execute(
            "SELECT count(*) FROM head WHERE part = 'test' AND value IN (SELECT value FROM base WHERE part = 'train')"
        ).fetchall()[0][0]
    return Rows([_part(part, counts) for part in PARTS], learned)


def repeated(folder: Path, spill: Path) -> int:
    """Return how many rows of a split's test part equal one of its train part in all features."""
    columns = tables.read_columns(folder)
    with connection(spill) as database:
        _load(database, "head", folder, columns.features)
        asked = (
            "SELECT count(*) FROM head WHERE part = 'test' AND value IN (SELECT value FROM head WHERE part = 'train')"
        )
        return int(database.execute(asked).fetchall()[0][0])


def tells_rows(base: Path, head: Path) -> bool:
    """Say whether the values of the columns that both splits have tell their rows apart, or all columns are shared."""
    sides = tables.read_columns(base), tables.read_columns(head)
    columns = shared(*sides)
    if len(columns) == len(sides[0]) - 1 == len(sides[1]) - 1:  # without the row number
        return True
    if not columns:
        return False
    hashed = ", ".join(quoted(column.name) for column in columns)
    with connection() as database:
        for folder in (base, head):
            parts = " UNION ALL ".join(
                f"SELECT hash({hashed}) AS value FROM {source}"
                for part in PARTS
                if (source := parts_source(folder, part))
            )
            ((different, rows),) = database.execute(f"SELECT count(DISTINCT value), count(*) FROM ({parts})").fetchall()
            if different < _TOLD * rows:
                return False
    return True


def other_rows(predictions: Path, split: Path) -> str | None:
    """Return in what a file of predictions is not of the rows of a split's test part and their targets; None if it is.

    Raises:
        DataError: the split is damaged.
    """
    target, source = tables.read_columns(split).target, parts_source(split, "test")
    if source is None:
        return "there are none"
    dealt = f"SELECT {quoted(ROW)} AS number, {quoted(target.name)} AS target FROM {source}"
    said = f"SELECT {quoted(ROW)} AS number, actual FROM read_parquet({literal(predictions)})"
    with connection() as database:
        ((rows, found, same),) = database.execute(
            f"SELECT (SELECT count(*) FROM ({dealt})), count(s.number), count(*) FILTER (s.actual = d.target) "
            f"FROM ({dealt}) d JOIN ({said}) s USING (number)"
        ).fetchall()
        ((told,),) = database.execute(f"SELECT count(*) FROM ({said})").fetchall()
    if not rows == found == told:
        return f"{found:,} of its {told:,} rows are among the {rows:,} there"
    return None if same == rows else f"{rows - same:,} have another target"


def same_targets(base: Path, head: Path) -> bool:
    """Say whether two splits have as many rows, and each row number the same target, too many to be so by chance."""
    targets = [tables.read_columns(folder).target for folder in (base, head)]
    if targets[0].type != targets[1].type:
        return False
    sides = [
        " UNION ALL ".join(
            f"SELECT {quoted(ROW)} AS number, {quoted(target.name)} AS target FROM {source}"
            for part in PARTS
            if (source := parts_source(folder, part))
        )
        for folder, target in zip((base, head), targets, strict=True)
    ]
    with connection() as database:
        counts = [database.execute(f"SELECT count(*) FROM ({side})").fetchall()[0][0] for side in sides]
        asked = f"SELECT count(*), entropy(b.target) FROM ({sides[0]}) b JOIN ({sides[1]}) h USING (number, target)"
        ((same, bits),) = database.execute(asked).fetchall()
    return bool(counts[0] == counts[1] == same and same * (bits or 0) >= _SURE)


def shared(base: Columns, head: Columns) -> list[Column]:
    """Return the columns that both have, of one type, without the row number."""
    types = {column.name: column.type for column in base}
    return [column for column in head if column.role != "row" and types.get(column.name) == column.type]


def _load(database: "duckdb.DuckDBPyConnection", side: str, folder: Path, columns: Sequence[Column]) -> None:
    """Make a table of a side's rows: part, number, and a hash of the values."""
    hashed = "hash(" + ", ".join(quoted(column.name) for column in columns) + ")" if columns else "0"
    database.execute(f"CREATE TABLE {side} (part VARCHAR, number BIGINT, value UBIGINT)")
    for part in PARTS:
        if source := parts_source(folder, part):
            database.execute(f"INSERT INTO {side} SELECT {literal(part)}, {quoted(ROW)}, {hashed} FROM {source}")


def parts_source(folder: Path, part: str) -> str | None:
    """Return what to select a part's rows from; None for a part without rows."""
    files = tables.part_files(part, folder)
    if not files:
        return None
    if files[0].suffix != ".parquet":
        return tables.csv_source(files, folder)
    return "read_parquet([" + ", ".join(literal(path.resolve()) for path in files) + "])"


# A row's place among equal ones, so that each is paired once.
_PAIRED = """
CREATE TABLE paired AS
WITH b AS (SELECT *, row_number() OVER (PARTITION BY value ORDER BY number) AS nth FROM base),
     h AS (SELECT *, row_number() OVER (PARTITION BY value ORDER BY number) AS nth FROM head),
     whole AS (
        SELECT b.part AS base_part, h.part AS head_part, b.number AS base_number, h.number AS head_number
        FROM b FULL JOIN h ON b.value = h.value AND b.nth = h.nth
     ),
     gone AS (SELECT base_part, base_number FROM whole WHERE head_part IS NULL),
     new AS (SELECT head_part, head_number FROM whole WHERE base_part IS NULL)
SELECT base_part, head_part, 'same' AS kind FROM whole WHERE base_part IS NOT NULL AND head_part IS NOT NULL
UNION ALL
SELECT base_part, head_part,
       CASE WHEN base_part IS NULL THEN 'added' WHEN head_part IS NULL THEN 'removed' ELSE 'changed' END
FROM gone FULL JOIN new ON base_number = head_number
"""


def _part(part: str, counts: Mapping[tuple[str | None, str | None, str], int]) -> PartChange:
    def rows(kind: str, before: str | None, now: str | None) -> int:
        """Return how many rows there are; None stands for any part."""
        return sum(n for (b, h, k), n in counts.items() if k == kind and before in (None, b) and now in (None, h))

    stayed, now = rows("same", part, part), rows("same", None, part)
    changed, added = rows("changed", None, part), rows("added", None, part)
    before = rows("same", part, None) + rows("changed", part, None) + rows("removed", part, None)
    return PartChange(
        part, before, now + changed + added, stayed, now - stayed, changed, added, rows("removed", part, None)
    )
