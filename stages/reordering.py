"""The rows of a Parquet file in other orders, whatever its length.

The file is read once.  A large one's rows go into buckets of neighbours by the
new orders, on disk, and each bucket is sorted on its own: both ways disks and
memory are used from one end to the other.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from stages.arrays import to_arrow, to_numpy
from stages.progress import Report, step
from stages.strata import width
from stages.tables import ROW

if TYPE_CHECKING:
    import pyarrow as pa

_BYTES = 2**23  # of a bucket in memory
_READ = 2**24  # bytes in memory that are read at once
_HELD = 2**27  # bytes of a table whose buckets need no disk
_BUCKETS = 250  # about as many at most: each is an open file

T = TypeVar("T")


class _Lane(NamedTuple):
    """One of the orders: its rows, and the number of its first bucket."""

    rows: NDArray[Any]
    bucket: int


@contextmanager
def reordered(path: Path, orders: Sequence[NDArray[Any]], folder: Path) -> "Iterator[list[Iterator[pa.Table]]]":
    """Yield for each order the rows of a table in it, some at a time; threads may take them side by side.

    `orders` (n,) are the numbers of the rows, each at most once in all; the table's own order is that of its column
    `row`, from 0. Files meanwhile stand in `folder`. When the block ends, what was not taken ends, too.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, pre_buffer=False) as file:
        total, row, at = sum(map(len, orders)), _bytes_a_row(file), file.schema_arrow.get_field_index(ROW)
        size = max(_BYTES // row, -(-total // _BUCKETS))  # rows of a bucket
        lanes = list(_lanes(orders, size))
        store = _Store(folder if total * row > _HELD else None)
        try:
            places = _places(lanes, size, file.metadata.num_rows)
            with step("dealing out rows", len(places)) as report:
                done = 0
                # While rows are stored, the next are sorted, and those after them read.
                batches = _ahead(file.iter_batches(max(_READ // row, 1)))
                for batch, starts in _ahead(_dealt(batches, places, size)):
                    store.put(batch, starts)
                    done += len(batch)
                    report(done)
            del places
            store.close()
            with step("writing rows", total) as report:
                counter = _Counter(report)
                # While one bucket is written, the next is sorted.
                yield [map(counter.seen, _ahead(_sorted(store, lane, size, at))) for lane in lanes]
        finally:
            store.ended = True
            store.close()


def _lanes(orders: Sequence[NDArray[Any]], size: int) -> Iterator[_Lane]:
    """Yield the orders, each with buckets of its own."""
    bucket = 0
    for rows in orders:
        yield _Lane(rows, bucket)
        bucket += -(-len(rows) // size)


def _places(lanes: Sequence[_Lane], size: int, rows: int) -> NDArray[Any]:
    """Return of each row its place in all lanes, -1 if it has none; every bucket has `size` places."""
    places = np.full(rows, -1, width(rows + size * len(lanes)))
    for lane in lanes:
        start = lane.bucket * size
        places[lane.rows] = np.arange(start, start + len(lane.rows), dtype=places.dtype)
    return places


def _dealt(
    batches: "Iterator[pa.RecordBatch]", places: NDArray[Any], size: int
) -> "Iterator[tuple[pa.RecordBatch, dict[int, int]]]":
    """Yield the rows of batches by their buckets, and each bucket's first row in them.

    The last column is a row's place in place of its number. Bucket -1 is of rows to leave out.
    """
    start = 0
    for batch in batches:
        end = start + len(batch)
        if not np.array_equal(to_numpy(batch.column(ROW)), np.arange(start, end)):
            raise RuntimeError(f"the column {ROW} of the table is not the number of the row")
        to = places[start:end]
        bucket = (to // size).astype(np.int16)  # which makes -1 of -1
        order = np.argsort(bucket, kind="stable")
        bucket = bucket[order]
        starts = np.flatnonzero(np.diff(bucket, prepend=-2))
        placed = batch.remove_column(batch.schema.get_field_index(ROW)).append_column("", to_arrow(to))
        yield placed.take(to_arrow(order)), dict(zip(bucket[starts].tolist(), starts.tolist(), strict=True))
        start = end


def _sorted(store: "_Store", lane: _Lane, size: int, at: int) -> "Iterator[pa.Table]":
    """Yield the rows of a lane, their number as the column `at`."""
    for start in range(0, len(lane.rows), size):
        if store.ended:
            return
        rows = lane.rows[start : start + size]
        bucket = lane.bucket + start // size
        table = store.sorted(bucket, bucket * size, len(rows))
        yield table.add_column(at, ROW, to_arrow(rows.astype(np.int64)))


def _ahead(values: Iterator[T]) -> Iterator[T]:
    """Yield values, the next of which is made while one is dealt with."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, values, None)
        while (value := coming.result()) is not None:
            coming = thread.submit(next, values, None)
            yield value


def _bytes_a_row(file: Any) -> int:
    """Return how many bytes a row takes in memory, by the first."""
    first = next(file.iter_batches(2048), None)
    return 1 if first is None else max(1, first.nbytes // len(first))


class _Counter:
    """Counts rows that several threads go through."""

    def __init__(self, report: Report) -> None:
        self._report, self._done, self._lock = report, 0, Lock()

    def seen(self, table: "pa.Table") -> "pa.Table":
        """Return a table, its rows counted."""
        with self._lock:
            self._done += len(table)
            self._report(self._done)
        return table


class _Store:
    """Buckets of rows, in memory or in a file each."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._files: dict[int, Any] = {}
        self._kept: dict[int, list[Any]] = {}
        self.ended = False  # nobody takes rows any more

    def put(self, batch: "pa.RecordBatch", starts: dict[int, int]) -> None:
        """Put rows, sorted by bucket, into their buckets; `starts` is the first of each bucket."""
        import pyarrow as pa

        for (kind, start), end in zip(starts.items(), [*starts.values(), len(batch)][1:], strict=True):
            if kind < 0:
                continue
            some = batch.slice(start, end - start)
            if self._folder is None:
                self._kept.setdefault(kind, []).append(some)
                continue
            if kind not in self._files:
                self._files[kind] = pa.ipc.new_stream(str(self._path(kind)), some.schema)
            self._files[kind].write_batch(some)

    def sorted(self, bucket: int, first: int, rows: int) -> "pa.Table":
        """Return a bucket's rows, without their places, by these, and forget them.

        `first`: the first place of a bucket of so many rows.
        """
        import pyarrow as pa

        if self._folder is None:
            table = pa.Table.from_batches(self._kept.pop(bucket))
        else:
            with pa.memory_map(str(self._path(bucket))) as file, pa.ipc.open_stream(file) as stream:
                table = stream.read_all()
            self._path(bucket).unlink()
        last = table.num_columns - 1
        places = np.concatenate([to_numpy(chunk, str(chunk.type)) for chunk in table.column(last).chunks])
        order = np.empty(rows, np.int64)
        order[places - first] = np.arange(rows)
        return table.remove_column(last).combine_chunks().take(to_arrow(order))

    def close(self) -> None:
        """End the files, to be read."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _path(self, bucket: int) -> Path:
        return (self._folder or Path()) / f"bucket-{bucket}.arrow"
