"""The rows of a table: a file, standard input, or a table of a revision."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stages import remotes
from trialtree.calling.asked import Asked, CallError
from trialtree.predicting import inputs, pieces, reading
from trialtree.predicting.pieces import Piece, Source

if TYPE_CHECKING:
    import pyarrow as pa

_STDIN = "standard input"


class Revised:
    """A table of a revision."""

    texts = False

    def __init__(self, shown: str, table: "pa.Table") -> None:
        self.shown, self.schema, self._table = shown, table.schema, table
        self.rows: int | None = table.num_rows

    def pieces(self, columns: Sequence[str], size: int, start: int) -> Iterator[Piece]:
        """See `pieces.Source`."""
        table = self._table.select(list(columns))
        return pieces.numbered(pieces.cut(table.to_batches(), table.schema, size, start), table.num_rows, start)


def opened(asked: Asked, folder: Path) -> Source:
    """Return the table that is asked for; what is not in a file of this machine is put into `folder`.

    Raises:
        UserError: there is none, or it is damaged or empty.
    """
    name = asked.table
    if name == "-":
        copy = folder / "stdin"
        with copy.open("wb") as file:
            while block := sys.stdin.buffer.read(2**20):
                file.write(block)
        if not copy.stat().st_size:
            raise CallError(f"{_STDIN}: is empty")
        (found,) = inputs.find([str(copy)], folder, None, folder)
        return reading.opened(replace(found, shown=_STDIN))
    rev, colon, path = name.partition(":")
    if colon and rev and path and not remotes.is_remote(name) and not (asked.here / name).exists():
        from trialtree import at

        return Revised(name, at.table(rev, path))
    several = inputs.find([name], asked.here, None, folder)
    if len(several) > 1:
        raise CallError(f"{name}: is {len(several)} files, and a call takes one; `trialtree predict` takes all")
    return reading.opened(several[0])


def rows(source: Source, columns: Sequence[str], size: int) -> Iterator[tuple["pa.Table", np.ndarray]]:
    """Yield some rows of a table at a time, and their numbers in it, from 0.

    Raises:
        UserError: a record is no row, or they cannot be read.
    """
    for piece in source.pieces(columns, size, 0):
        if piece.broken:
            raise CallError(f"{source.shown}: {piece.broken[0]}")
        yield piece.table, piece.numbers
