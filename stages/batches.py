"""The rows of a part of the split, read from its files as they are asked for: all of some columns, or in batches.

What fits a recipe or predicts takes such rows, from files or from a table in
memory, and never holds more columns or rows than it needs.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from stages import tables
from stages.tables import Column, DataError

if TYPE_CHECKING:
    import pyarrow as pa

# Fixed, so that sums and predictions of a large table are the same on every machine.
SIZE = 131_072  # rows of a batch


class Rows(Protocol):
    """Rows of a table, wherever they are."""

    @property
    def where(self) -> str:
        """What they are, to begin a message with."""

    @property
    def num_rows(self) -> int:
        """How many there are."""

    def read(self, columns: Sequence[Column]) -> "pa.Table":
        """Return all rows of these columns."""

    def batches(self, columns: Sequence[Column], size: int = SIZE) -> "Iterator[pa.Table]":
        """Yield `size` rows of these columns at a time, the last time what is left."""


@dataclass(frozen=True)
class Held:
    """Rows of a table in memory."""

    table: "pa.Table"
    where: str = f"{tables.SPLIT}/train"

    @property
    def num_rows(self) -> int:
        """How many there are."""
        count: int = self.table.num_rows
        return count

    def read(self, columns: Sequence[Column]) -> "pa.Table":
        """Return all rows of these columns."""
        return self.table.select([column.name for column in columns])

    def batches(self, columns: Sequence[Column], size: int = SIZE) -> "Iterator[pa.Table]":
        """Yield `size` rows of these columns at a time, the last time what is left."""
        table = self.read(columns)
        for start in range(0, table.num_rows, size):
            yield table.slice(start, size)


@dataclass(frozen=True)
class Part:
    """Rows of a part in its files, in the order in which split dealt them."""

    name: str
    folder: Path = tables.SPLIT

    @property
    def where(self) -> str:
        """The part's folder."""
        return str(self.folder / self.name)

    @cached_property
    def num_rows(self) -> int:
        """How many there are, by the files' own count.

        Raises:
            DataError: a file is damaged, or split dealt another number.
        """
        files = tables.part_files(self.name, self.folder)
        count = sum(_count(path, self.folder) for path in files)
        dealt = _dealt(self.folder).get(self.name, count)
        if files and count != dealt:
            raise DataError(
                f"{self.where} holds {count} rows in {len(files)} files, and {self.folder}/report.json says {dealt}; "
                "`dvc repro --force split` makes it anew"
            )
        return count

    def read(self, columns: Sequence[Column]) -> "pa.Table":
        """Return all rows of these columns.

        Raises:
            DataError: a file is damaged or lacks a column.
        """
        return tables.read_part(self.name, columns, self.folder)

    def batches(self, columns: Sequence[Column], size: int = SIZE) -> "Iterator[pa.Table]":
        """Yield `size` rows of these columns at a time, the last time what is left.

        Raises:
            DataError: a file is damaged, lacks a column, or does not hold the rows that it says.
        """
        schema = tables.schema(columns)
        read = 0
        for table in _rebatched(self._pieces(schema), size):
            read += table.num_rows
            yield table
        if read != self.num_rows:
            raise DataError(f"{self.where} gave {read} rows of the {self.num_rows} that its files say they hold")

    def _pieces(self, schema: "pa.Schema") -> "Iterator[pa.Table]":
        """Yield the rows in pieces as the files hold them."""
        files = tables.part_files(self.name, self.folder)
        if files and files[0].suffix != ".parquet":
            yield from tables.csv_batches(files, schema, self.folder)
            return
        for path in files:
            yield from tables.parquet_batches(path, schema)


def _rebatched(pieces: "Iterable[pa.Table]", size: int) -> "Iterator[pa.Table]":
    """Yield the rows of pieces of any length, `size` at a time."""
    import pyarrow as pa

    held: list[pa.Table] = []
    count = 0
    for piece in pieces:
        held.append(piece)
        count += piece.num_rows
        while count >= size:
            table = pa.concat_tables(held)
            yield table.slice(0, size)
            held, count = [table.slice(size)], count - size
    if count:
        yield pa.concat_tables(held)


def _count(path: Path, folder: Path) -> int:
    """Return how many rows a file holds."""
    return tables.parquet_rows(path) if path.suffix == ".parquet" else tables.csv_rows([path], folder)


def _dealt(folder: Path) -> dict[str, int]:
    """Return how many rows split dealt to each part; nothing where it left no report."""
    try:
        rows: dict[str, int] = json.loads((folder / "report.json").read_text(encoding="utf-8"))["rows"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return rows if isinstance(rows, dict) else {}
