"""The rows of a Parquet file in another order, whatever its length.

The file is read once.  A large one's rows go into buckets of neighbours by the
new order, on disk, and each bucket is sorted on its own: both ways disks and
memory are used from one end to the other.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stages.progress import step
from stages.tables import ROW

if TYPE_CHECKING:
    import pyarrow as pa

_BYTES = 2**24  # of a bucket in memory
_BUCKETS = 250  # at most: each is an open file


def reordered(path: Path, places: NDArray[Any], folder: Path) -> "Iterator[pa.Table]":
    """Yield the rows of a table, numbered from 0 in its column `row`, in another order, some at a time.

    `places` (rows,) is the new place of each row, -1 for one to leave out. Files meanwhile stand in `folder`.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, pre_buffer=False) as file, ExitStack() as stack:
        total = int(places.max(initial=-1)) + 1
        row = _bytes_a_row(file)
        size = max(_BYTES // row, -(-total // _BUCKETS))  # rows of a bucket
        store = stack.enter_context(_Store(folder if total > size else None))
        with step("dealing out rows", len(places)) as report:
            start = 0
            for batch in _ahead(file.iter_batches(max(_BYTES // row, 1))):
                found = np.frombuffer(
                    batch.column(ROW).buffers()[1], np.int64, len(batch), 8 * batch.column(ROW).offset
                )
                if not np.array_equal(found, np.arange(start, start + len(batch))):
                    raise RuntimeError(f"{path}: its column {ROW} is not the number of the row")
                store.deal(batch, places[start : start + len(batch)], size)
                start += len(batch)
                report(start)
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


def _ahead(batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
    """Yield batches, the next of which is read while one is dealt with."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = thread.submit(next, batches, None)
            yield batch


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

    def deal(self, batch: "pa.RecordBatch", places: NDArray[Any], size: int) -> None:
        """Put each row into the bucket of its place."""
        import pyarrow as pa

        bucket = np.where(places < 0, -1, places // size).astype(np.int16)
        order = np.argsort(bucket, kind="stable")
        batch = batch.append_column("", _array(places)).take(_array(order))
        bucket = bucket[order]
        kinds, starts = np.unique(bucket, return_index=True)
        for kind, start, end in zip(kinds.tolist(), starts, [*starts[1:], len(bucket)], strict=True):
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
        places = np.concatenate([_numbers(chunk) for chunk in table.column(last).chunks])
        return table.remove_column(last).combine_chunks().take(_array(np.argsort(places)))

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


def _array(values: NDArray[Any]) -> "pa.Array":
    """Return integers as Arrow's, of 64 bits; from a buffer, because pyarrow imports pandas for an array: 0.2 s."""
    import pyarrow as pa

    wide = np.ascontiguousarray(values, np.int64)
    return pa.Array.from_buffers(pa.int64(), len(wide), [None, pa.py_buffer(wide)])


def _numbers(array: "pa.Array") -> NDArray[np.int64]:
    """Return Arrow's integers of 64 bits, none missing, as numpy's."""
    return np.frombuffer(array.buffers()[1], np.int64, len(array), 8 * array.offset)
