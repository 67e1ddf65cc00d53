"""The files of the parts: data/split/{train,validation,test}/part-000.parquet and on, near-equal in size."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from stages.databases import connection, literal
from stages.dealing import Parts
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

    Parts are written side by side.

    Raises:
        DataError: a part has fewer rows than files.
    """
    filled = {part: rows for part, rows in parts.items() if len(rows)}
    ends = {part: _ends(part, len(rows), files.counts[part]) for part, rows in filled.items()}

    def write_part(part: str, tables: "Iterator[pa.Table]") -> None:
        (folder / part).mkdir(exist_ok=True)
        for number, of_file in groupby(_pieces(tables, ends[part]), key=itemgetter(0)):
            path = folder / part / f"part-{number:03}.parquet"
            with Writer(path, columns) as writer:
                for _, piece in of_file:
                    for batch in piece.to_batches():
                        writer.write(batch)

    # Reordering ends first: what still writes after an error or a Ctrl-C then comes to its end.
    with (
        scratch(folder / "buckets") as buckets,
        ThreadPoolExecutor(len(filled)) as pool,
        reordered(RAW, list(filled.values()), buckets) as lanes,
    ):
        for written in as_completed([pool.submit(write_part, *each) for each in zip(filled, lanes, strict=True)]):
            written.result()
    if files.format == "csv":
        for path in sorted(folder.glob("*/*.parquet")):
            _make_csv(path)


def _ends(part: str, rows: int, files: int) -> list[int]:
    """Return the rows of a part up to the end of each of its files, whose sizes differ by at most one."""
    if files > rows:
        raise DataError(f"{PATH}: split.files.{part}: must be at most the {rows} rows of {part}, got {files}")
    return [rows // files * (file + 1) + min(rows % files, file + 1) for file in range(files)]


def _pieces(tables: "Iterator[pa.Table]", ends: Sequence[int]) -> "Iterator[tuple[int, pa.Table]]":
    """Yield the rows of each file, with its number; `ends` are the rows up to the end of each."""
    file = start = 0
    for table in tables:
        end = start + table.num_rows
        while file < len(ends) and start < end:
            stop = min(end, ends[file])
            yield file, table.slice(start - end + table.num_rows, stop - start)
            start = stop
            file += start == ends[file]


def _make_csv(path: Path) -> None:
    """Make a Parquet file one of CSV; DuckDB writes a text that is empty otherwise than a gap."""
    with connection(path.parent) as database:
        written = f"COPY (FROM read_parquet({literal(path)})) TO {literal(path.with_suffix('.csv'))}"
        database.execute(f"{written} (FORMAT csv, HEADER true)")
    path.unlink()
