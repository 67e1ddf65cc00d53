"""Parquet and Arrow files, a few rows in memory at a time."""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from trialtree.predicting import pieces
from trialtree.predicting.asked import PredictError
from trialtree.predicting.inputs import Input
from trialtree.predicting.pieces import Piece

_BUFFER = 2**18  # bytes of a column that are read at a time, where a row group may have hundreds of megabytes


class Parquet:
    """A Parquet file."""

    texts = False

    def __init__(self, of: Input) -> None:
        """Open the file; raises PredictError where it is cut off or damaged."""
        import pyarrow.parquet as pq

        self.shown, self._path = of.shown, of.path
        with _reading(of.shown, "Parquet"), pq.ParquetFile(of.path) as file:
            self.schema = file.schema_arrow
            self.rows: int | None = file.metadata.num_rows

    def pieces(self, columns: Sequence[str], size: int, start: int) -> Iterator[Piece]:
        """See `pieces.Source`; row groups before `start` are not read."""
        import pyarrow.parquet as pq

        with (
            _reading(self.shown, "Parquet"),
            pq.ParquetFile(self._path, buffer_size=_BUFFER, pre_buffer=False) as file,
        ):
            first, groups = 0, list(range(file.num_row_groups))
            while groups and first + (rows := file.metadata.row_group(groups[0]).num_rows) <= start:
                first, groups = first + rows, groups[1:]
            batches = file.iter_batches(batch_size=size, row_groups=groups, columns=list(columns))
            some = _same(batches)
            tables = pieces.cut(some[1], some[0], size, start - first) if some else iter(())
            yield from pieces.numbered(tables, self.rows or 0, start)


class Arrow:
    """An Arrow IPC file or stream."""

    texts = False
    rows: int | None = None  # its batches say, each for itself

    def __init__(self, of: Input) -> None:
        """Open it; raises PredictError where it is cut off or damaged."""
        import pyarrow as pa

        self.shown, self._is_file, self._path = of.shown, of.kind == "arrow", of.path
        with _reading(of.shown, "Arrow"), pa.OSFile(str(of.path)) as source:
            opened = pa.ipc.open_file(source) if self._is_file else pa.ipc.open_stream(source)
            self.schema = opened.schema

    def pieces(self, columns: Sequence[str], size: int, start: int) -> Iterator[Piece]:
        """See `pieces.Source`."""
        import pyarrow as pa

        places = [self.schema.get_field_index(name) for name in columns]
        options = pa.ipc.IpcReadOptions(included_fields=places)
        with _reading(self.shown, "Arrow"), pa.OSFile(str(self._path)) as source:
            opened = (pa.ipc.open_file if self._is_file else pa.ipc.open_stream)(source, options=options)
            batches = map(opened.get_batch, range(opened.num_record_batches)) if self._is_file else iter(opened)
            if (some := _same(batch.select(list(columns)) for batch in batches)) is None:
                return
            for piece in pieces.numbered(pieces.cut(some[1], some[0], size, start), 0, start):
                yield replace(piece, share=source.tell() / source.size())


def _same(batches: Iterator[Any]) -> tuple[Any, Iterator[Any]] | None:
    """Return the schema of batches, and the batches; None where there is none."""
    first = next(batches, None)
    return None if first is None else (first.schema, itertools.chain([first], batches))


@contextmanager
def _reading(shown: str, what: str) -> Iterator[None]:
    """Turn what Arrow says of a file that it cannot read into one line."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        said = " ".join(str(error).split())
        raise PredictError(f"{shown}: cannot be read as {what}, it is cut off or damaged: {said[:200]}") from None
