"""The rows of a Parquet file in another order, whatever its length.

The file is read once.  A large one's rows go into buckets of neighbours by the
new order, on disk, and each bucket is sorted on its own: both ways disks and
memory are used from one end to the other.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from stages.arrays import to_arrow, to_numpy
from stages.progress import step
from stages.tables import ROW

if TYPE_CHECKING:
    import pyarrow as pa

_BYTES = 2**24  # of a bucket in memory
_HELD = 2**27  # bytes of a table whose buckets need no disk
_BUCKETS = 250  # at most: each is an open file

T = TypeVar("T")


def reordered(path: Path, places: NDArray[Any], folder: Path) -> "Iterator[pa.Table]":
    """Yield the rows of a table, numbered from 0 in its column `row`, in another order, some at a time.

    `places` (rows,) is the new place of each row, -1 for one to leave out. Files meanwhile stand in `folder`.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, pre_buffer=False) as file, ExitStack() as stack:
        total = int(places.max(initial=-1)) + 1
        row = _bytes_a_row(file)
        size = max(_BYTES // row, -(-total // _BUCKETS))  # rows of a bucket
        store = stack.enter_context(_Store(folder if total * row > _HELD else None))
        with step("dealing out rows", len(places)) as report:
            done = 0
            # While rows are stored, the next are read and sorted.
            for batch, starts in _ahead(_dealt(file.iter_batches(max(_BYTES // row, 1)), places, size)):
                store.put(batch, starts)
                done += len(batch)
                report(done)
        store.close()
        # While one bucket is written, the next is sorted.
        with step("writing rows", total) as report, ThreadPoolExecutor(1) as thread:
            buckets = range(-(-total // size))
            coming = [thread.submit(store.sorted, bucket) for bucket in buckets[:1]]
            for bucket in buckets:
                table = coming.pop().result()
                coming += [thread.submit(store.sorted, bucket + 1)] if bucket + 1 in buckets else []
                yield table
                report(min((bucket + 1) * size, total))


def _dealt(
    batches: "Iterator[pa.RecordBatch]", places: NDArray[Any], size: int
) -> "Iterator[tuple[pa.RecordBatch, dict[int, int]]]":
    """Yield the rows of batches by their buckets, their places as last column, and each bucket's first row in them.

    Bucket -1 is of rows to leave out. The rows within a bucket keep their order.
    """
    start = 0
    for batch in batches:
        end = start + len(batch)
        if not np.array_equal(to_numpy(batch.column(ROW)), np.arange(start, end)):
            raise RuntimeError(f"the column {ROW} of the table is not the number of the row")
        to = places[start:end]
        bucket = np.where(to < 0, -1, to // size).astype(np.int16)
        order = np.argsort(bucket, kind="stable")
        kinds, starts = np.unique(bucket[order], return_index=True)
        yield (
            batch.append_column("", to_arrow(to)).take(to_arrow(order)),
            dict(zip(kinds.tolist(), starts.tolist(), strict=True)),
        )
        start = end


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


class _Store:
    """Buckets of rows, in memory or in a file each."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._files: dict[int, Any] = {}
        self._kept: dict[int, list[Any]] = {}

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

    def sorted(self, bucket: int) -> "pa.Table":
        """Return a bucket's rows by their places, and forget them."""
        import pyarrow as pa

        if self._folder is None:
            table = pa.Table.from_batches(self._kept.pop(bucket))
        else:
            with pa.memory_map(str(self._path(bucket))) as file, pa.ipc.open_stream(file) as stream:
                table = stream.read_all()
            self._path(bucket).unlink()
        last = table.num_columns - 1
        places = np.concatenate([to_numpy(chunk, str(chunk.type)) for chunk in table.column(last).chunks])
        return table.remove_column(last).combine_chunks().take(to_arrow(np.argsort(places)))

    def close(self) -> None:
        """End the files, to be read."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _path(self, bucket: int) -> Path:
        return (self._folder or Path()) / f"bucket-{bucket}.arrow"

    def __enter__(self) -> "_Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
