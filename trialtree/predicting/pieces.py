"""Some rows of an input at a time, of one size whatever batches its file is read in."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from trialtree.serving.faults import Fault

if TYPE_CHECKING:
    import pyarrow as pa

Numbers = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Piece:
    """Rows that follow each other in an input."""

    table: "pa.Table"
    numbers: Numbers  # (rows,) of each row in its file, from 0
    broken: tuple[Fault, ...] = ()  # records beside them that are no rows, by their numbers in the file
    share: float = 0.0  # of the file that is read


class Source(Protocol):
    """An input that is open."""

    shown: str
    schema: "pa.Schema"
    rows: int | None  # None: not known before they are read
    texts: bool  # its cells are texts, whose type is the model's matter

    def pieces(self, columns: Sequence[str], size: int, start: int) -> Iterator[Piece]:
        """Yield the rows from `start` on, `size` at a time; raises UserError where they cannot be read."""
        ...


def cut(batches: "Iterable[pa.RecordBatch]", schema: "pa.Schema", size: int, start: int) -> "Iterator[pa.Table]":
    """Yield the rows of batches from `start` on as tables of `size` rows, the last of fewer."""
    import pyarrow as pa

    waiting: list[pa.RecordBatch] = []
    count, skipped = 0, 0
    for batch in batches:
        skip = min(start - skipped, len(batch))
        skipped += skip
        waiting.append(batch.slice(skip))
        count += len(waiting[-1])
        while count >= size:
            table = pa.Table.from_batches(waiting, schema)
            yield table.slice(0, size)
            waiting = table.slice(size).to_batches()
            count -= size
    if count:
        yield pa.Table.from_batches(waiting, schema)


def numbered(tables: "Iterable[pa.Table]", rows: int, start: int) -> Iterator[Piece]:
    """Yield tables as pieces of a file of so many rows, none of which is broken."""
    for table in tables:
        end = start + table.num_rows
        yield Piece(table, np.arange(start, end), share=end / max(rows, 1))
        start = end
