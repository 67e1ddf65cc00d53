"""The files of the parts: data/split/{train,validation,test}/part-000.parquet and on, near-equal in size."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from stages.databases import connection, literal
from stages.dealing import Parts, Rows
from stages.files import scratch
from stages.params import PATH
from stages.parquets import Writer
from stages.reordering import reordered
from stages.tables import RAW, Columns, DataError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Files:
    """What files to write."""

    counts: Mapping[str, int]  # of each part
    format: Literal["parquet", "csv"] = "parquet"


def write(columns: Columns, parts: Parts, folder: Path, files: Files) -> None:
    """Write the rows of each part, in the order given, to its files in `folder`; none for a part without rows.

    Raises:
        DataError: a part has fewer rows than files.
    """
    cuts = list(_cuts(parts, files.counts))
    for name, _ in cuts:
        (folder / name).parent.mkdir(exist_ok=True)
    order = np.concatenate([rows for _, rows in cuts])
    ends = np.cumsum([len(rows) for _, rows in cuts]).tolist()
    with scratch(folder / "buckets") as buckets:
        pieces = _pieces(reordered(RAW, order, buckets), ends)
        for number, of_file in groupby(pieces, key=itemgetter(0)):
            path = folder / f"{cuts[number][0]}.parquet"
            with Writer(path, columns) as writer:
                for _, piece in of_file:
                    for batch in piece.to_batches():
                        writer.write(batch)
            if files.format == "csv":
                _make_csv(path)


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


def _pieces(tables: "Iterator[pa.Table]", ends: Sequence[int]) -> "Iterator[tuple[int, pa.Table]]":
    """Yield the rows of each cut, with its number; `ends` are the rows up to the end of each."""
    cut = start = 0
    for table in tables:
        end = start + table.num_rows
        while cut < len(ends) and start < end:
            stop = min(end, ends[cut])
            yield cut, table.slice(start - end + table.num_rows, stop - start)
            start = stop
            cut += start == ends[cut]


def _make_csv(path: Path) -> None:
    """Make a Parquet file one of CSV; DuckDB writes a text that is empty otherwise than a gap."""
    with connection(path.parent) as database:
        written = f"COPY (FROM read_parquet({literal(path)})) TO {literal(path.with_suffix('.csv'))}"
        database.execute(f"{written} (FORMAT csv, HEADER true)")
    path.unlink()
