"""Equal rows: rows of the same features and target, which must not stand on both sides of a split."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.arrays import to_arrow
from stages.databases import literal, numbers, quoted
from stages.dealing import Parts, Rows
from stages.params import PATH
from stages.raw import Raw
from stages.tables import ROW, DataError, raw_repeated


def repeats(raw: Raw, rows: Rows | None, folder: Path) -> tuple[Rows, Rows]:
    """Return the rows (n,) that equal an earlier one in features and target, and the first of each one's kind.

    `rows` have a target, or all where it is None. `folder` is for a file meanwhile.
    """
    compared = [c.name for c in raw.columns if c.role in ("feature", "target")]
    names = ", ".join(map(quoted, compared))
    if len(compared) == len(raw.columns) - 1 and not raw_repeated():
        return np.empty(0, np.int64), np.empty(0, np.int64)  # fetch has looked at all columns but the row's number
    # The hash only picks candidates, so that a table is not grouped by all its columns.
    likely = _repeated(numbers(raw.database, f"SELECT hash({names}) FROM {raw.rows}", raw.known, "uint64"))
    if not len(likely):
        return likely, likely
    candidates = folder / "candidates.parquet"
    _write(candidates, likely if rows is None else rows[likely])
    again, first = (
        raw.database.execute(
            f"WITH kinds AS (SELECT {ROW} AS again, min({ROW}) OVER (PARTITION BY {names}) AS first "
            f"FROM {raw.rows} WHERE {ROW} IN (FROM read_parquet({literal(candidates)}))) "
            "SELECT again, first FROM kinds WHERE again <> first ORDER BY again"
        )
        .fetchnumpy()
        .values()
    )
    candidates.unlink()
    return again, first


def _write(path: Path, rows: Rows) -> None:
    """Write row numbers for DuckDB, which imports pandas when it is handed a table: 0.2 s."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_arrays([to_arrow(rows)], [ROW]), path)


def _repeated(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the places of the values that are there more than once."""
    ordered = np.sort(hashes)
    twice = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if not len(twice):
        return np.empty(0, np.int64)
    nearest = np.searchsorted(twice, hashes).clip(max=len(twice) - 1)
    return np.flatnonzero(twice[nearest] == hashes)


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
    leaving = np.zeros(max(int(rows.max(initial=-1)) for rows in parts.values()) + 1, dtype=bool)
    leaving[moved] = True
    result = {}
    for place, (name, rows) in enumerate(parts.items()):
        stay = rows[~leaving[rows]]
        result[name] = np.concatenate([stay, np.sort(moved[to == place])]).astype(rows.dtype)
        if len(rows) and not len(result[name]):
            raise DataError(
                f"{PATH}: split.duplicates: together leaves {name} without a row: all its rows ({len(rows)}) repeat "
                f"rows of other parts; take a larger split.{name} or duplicates: keep"
            )
    return result, len(moved)


def apart(parts: Parts, repeats: Rows, firsts: Rows) -> NDArray[np.bool_]:
    """Return for each repeated row (n,) whether the first of its kind is in another part."""
    if not len(repeats):
        return np.zeros(0, bool)
    part = _part_of(parts)
    different: NDArray[np.bool_] = part[repeats] != part[firsts]
    return different


def _part_of(parts: Parts) -> NDArray[np.int8]:
    """Return the place of the part (row number -> 0, 1, 2) of every row."""
    part = np.full(max(int(rows.max(initial=-1)) for rows in parts.values()) + 1, -1, dtype=np.int8)
    for place, rows in enumerate(parts.values()):
        part[rows] = place
    return part
