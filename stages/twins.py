"""Equal rows: rows of the same features and target, which must not stand on both sides of a split."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stages.dealing import Parts, Rows
from stages.params import PATH
from stages.raw import known_rows, query
from stages.tables import ROW, Columns, DataError, quoted

if TYPE_CHECKING:
    import duckdb


def repeats(database: "duckdb.DuckDBPyConnection", columns: Columns) -> tuple[Rows, Rows]:
    """Return the rows (n,) that equal an earlier one in features and target, and the first of each one's kind."""
    names = ", ".join(quoted(c.name) for c in columns if c.role in ("feature", "target"))
    # The hash only picks candidates, so that a wide table is not grouped by all its columns.
    again, first = query(
        database,
        f"WITH hashed AS (SELECT {ROW}, hash({names}) AS h FROM {known_rows(columns)}), "
        f"likely AS (SELECT {ROW} FROM hashed WHERE h IN (SELECT h FROM hashed GROUP BY h HAVING count(*) > 1)), "
        f"kinds AS (SELECT {ROW} AS again, min({ROW}) OVER (PARTITION BY {names}) AS first "
        f"FROM {known_rows(columns)} WHERE {ROW} IN (FROM likely)) "
        "SELECT again, first FROM kinds WHERE again <> first ORDER BY again",
    )
    return again.astype(np.int64), first.astype(np.int64)


def rejoined(parts: Parts, repeats: Rows, firsts: Rows) -> tuple[Parts, int]:
    """Return the parts with each repeated row moved to the part of the first of its kind, and how many moved.

    `repeats` and `firsts` (n,) are row numbers of equal rows. Rows that move come
    last in their new part, in row order.

    Raises:
        DataError: a part is left without a row.
    """
    moving = apart(parts, repeats, firsts)
    if not moving.any():
        return parts, 0
    moved, to = repeats[moving], _part_of(parts)[firsts[moving]]
    result = {}
    for place, (name, rows) in enumerate(parts.items()):
        stay = rows[~np.isin(rows, moved)]
        result[name] = np.concatenate([stay, np.sort(moved[to == place])])
        if len(rows) and not len(result[name]):
            raise DataError(
                f"{PATH}: split.duplicates: together leaves {name} without a row: all its rows ({len(rows)}) repeat "
                f"rows of other parts; take a larger split.{name} or duplicates: keep"
            )
    return result, len(moved)


def apart(parts: Parts, repeats: Rows, firsts: Rows) -> NDArray[np.bool_]:
    """Return for each repeated row (n,) whether the first of its kind is in another part."""
    part = _part_of(parts)
    different: NDArray[np.bool_] = part[repeats] != part[firsts]
    return different


def _part_of(parts: Parts) -> NDArray[np.int8]:
    """Return the place of the part (row number -> 0, 1, 2) of every row."""
    part = np.full(max(int(rows.max(initial=-1)) for rows in parts.values()) + 1, -1, dtype=np.int8)
    for place, rows in enumerate(parts.values()):
        part[rows] = place
    return part
