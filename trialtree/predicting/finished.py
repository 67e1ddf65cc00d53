"""The chunks of an output that are finished, kept until it is whole: what a stopped prediction goes on from.

    N.chunks    the batches of rows, each an Arrow IPC stream of its own
    N.jsonl     a line a chunk: its input, how many rows were read, where it ends, its CRC-32, and the bad rows

A line is written after its chunk. What has no line, or does not agree with
it, is cut off and made again.
"""

import json
import os
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from trialtree.serving.faults import Fault

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Line:
    """What is noted of a chunk."""

    input: int  # its place among those of the output
    read: int  # rows of it; 0 where an input ends in records that are no rows
    written: int  # rows
    end: int  # byte of the file of chunks
    crc: int
    faults: tuple[Fault, ...] = ()

    @classmethod
    def of(cls, text: str) -> Self:
        """Return what a line of the journal says; raises ValueError, KeyError or TypeError where it is cut off."""
        content = json.loads(text)
        return cls(**{**content, "faults": tuple(Fault(*fault) for fault in content["faults"])})

    def __str__(self) -> str:
        """Return it for the journal."""
        return json.dumps({**asdict(self), "faults": [[f.row, f.column, f.reason] for f in self.faults]})

    @property
    def bad(self) -> int:
        """How many rows are bad."""
        return len({fault.row for fault in self.faults})


class Finished:
    """The finished chunks of an output."""

    def __init__(self, folder: Path, number: int) -> None:
        self._chunks, self._journal = folder / f"{number}.chunks", folder / f"{number}.jsonl"
        self._files: tuple[IO[bytes], IO[str]] | None = None
        self._end = 0

    def replayed(self) -> "Iterator[tuple[Line, pa.RecordBatch]]":
        """Yield the chunks that are whole, and cut off what comes behind them."""
        import pyarrow as pa

        length = 0
        if self._journal.exists() and self._chunks.exists():
            with self._chunks.open("rb") as chunks, self._journal.open(encoding="utf-8") as journal:
                for text in journal:
                    line = _whole(text, chunks, self._end)
                    if line is None:
                        break
                    content = line[1]
                    self._end, length = line[0].end, length + len(text.encode())
                    with pa.ipc.open_stream(content) as stream:
                        yield line[0], stream.read_next_batch()
        for path, size in ((self._chunks, self._end), (self._journal, length)):
            path.touch()
            os.truncate(path, size)

    def add(self, input_: int, read: int, batch: "pa.RecordBatch", faults: tuple[Fault, ...]) -> None:
        """Keep a chunk."""
        content = _packed(batch)
        self._end += len(content)
        line = Line(input_, read, len(batch), self._end, zlib.crc32(content), faults)
        if self._files is None:
            self._files = self._chunks.open("ab"), self._journal.open("a", encoding="utf-8")
        chunks, journal = self._files
        chunks.write(content)
        chunks.flush()
        journal.write(f"{line}\n")
        journal.flush()

    def close(self) -> None:
        """Close the files."""
        for file in self._files or ():
            file.close()
        self._files = None

    def drop(self) -> None:
        """Remove the chunks, which the output has now; the journal stays."""
        self.close()
        self._chunks.unlink(missing_ok=True)


def lines(folder: Path, number: int) -> Iterator[Line]:
    """Yield what the journal of an output says, up to a line that is cut off."""
    journal = folder / f"{number}.jsonl"
    if journal.exists():
        with journal.open(encoding="utf-8") as file, suppress(ValueError, KeyError, TypeError):
            yield from map(Line.of, file)


def _whole(text: str, chunks: IO[bytes], start: int) -> tuple[Line, bytes] | None:
    """Return what a journal's line says, and its chunk; None where either is not whole."""
    try:
        line = Line.of(text)
    except (ValueError, KeyError, TypeError):
        return None
    content = chunks.read(line.end - start)
    return (line, content) if len(content) == line.end - start and zlib.crc32(content) == line.crc else None


def _packed(batch: "pa.RecordBatch") -> Any:
    """Return a batch as an IPC stream."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as stream:
        stream.write_batch(batch)
    return sink.getvalue()
