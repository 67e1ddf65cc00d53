"""The files of the parts: data/split/{train,validation,test}/part-000.parquet and on, near-equal in size."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from stages.dealing import Parts, Rows
from stages.params import PATH
from stages.tables import RAW, ROW, Columns, DataError, literal, quoted, write_parquet

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class Files:
    """What files to write."""

    counts: Mapping[str, int]  # of each part
    format: Literal["parquet", "csv"] = "parquet"


def write(database: "duckdb.DuckDBPyConnection", columns: Columns, parts: Parts, folder: Path, files: Files) -> None:
    """Write the rows of each part, in the order given, to its files in `folder`; none for a part without rows.

    Raises:
        DataError: a part has fewer rows than files.
    """
    cuts = list(_cuts(parts, files.counts))
    order = folder / "order.parquet"
    _write_order(order, [rows for _, rows in cuts])
    names = ", ".join(f"t.{quoted(c.name)}" for c in columns)
    for number, (name, rows) in enumerate(cuts):
        path = folder / f"{name}.{files.format}"
        path.parent.mkdir(exist_ok=True)
        query = (
            f"SELECT {names} FROM read_parquet({literal(RAW)}) t JOIN read_parquet({literal(order)}) o "
            f"ON t.{ROW} = o.row WHERE o.file = {number} ORDER BY o.place"
        )
        if files.format == "parquet":
            write_parquet(database, query, path, columns)
            written = _rows_in(path)
        else:
            (written,) = database.execute(f"COPY ({query}) TO {literal(path)} (FORMAT csv, HEADER true)").fetchall()[0]
        if written != len(rows):
            raise RuntimeError(f"{path} got {written} rows instead of {len(rows)}; {RAW} holds a row number twice")
    order.unlink()


def _cuts(parts: Parts, files: Mapping[str, int]) -> Iterator[tuple[str, Rows]]:
    """Yield the name of each file, without suffix, and its rows; sizes differ by at most one."""
    for part, rows in parts.items():
        if not len(rows):
            continue
        if files[part] > len(rows):
            raise DataError(
                f"{PATH}: split.files.{part}: must be at most the {len(rows)} rows of {part}, got {files[part]}"
            )
        for number, cut in enumerate(np.array_split(rows, files[part])):
            yield f"{part}/part-{number:03}", cut


def _write_order(path: Path, cuts: list[Rows]) -> None:
    """Write which row stands in which file and where.

    Through a file, because DuckDB imports pandas when it is handed a table, and
    from buffers, because pyarrow does when it is handed an array: 0.2 s.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = np.repeat(np.arange(len(cuts)), [len(rows) for rows in cuts])
    columns = {"file": file, "place": np.arange(len(file)), "row": np.concatenate(cuts)}
    arrays = [pa.Array.from_buffers(pa.int64(), len(file), [None, pa.py_buffer(c)]) for c in columns.values()]
    pq.write_table(pa.Table.from_arrays(arrays, list(columns)), path)


def _rows_in(path: Path) -> int:
    import pyarrow.parquet as pq

    rows: int = pq.read_metadata(path).num_rows
    return rows
