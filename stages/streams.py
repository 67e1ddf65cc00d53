"""Save a stream of bytes as a file, going on where it was cut off, in this run or in a later one."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from stages import progress
from stages.content import Facts
from stages.tables import DataError

CHUNK = 2**20  # bytes read at a time
_ATTEMPTS = 3  # in a row that bring nothing
_PAUSE = 0.5  # seconds before the second attempt; doubled before each further one
_LONGEST = 30.0  # seconds that a server may ask to wait


class BrokenOffError(Exception):
    """The stream broke, or did not begin, for a reason that may pass: worth another attempt."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait  # seconds that the server asks for


@dataclass(frozen=True, slots=True)
class Stream:
    """Bytes of a file from `start` on."""

    start: int
    total: int | None  # length of the whole file, if the server says it
    validator: str | None  # what tells this version of the file from every other
    chunks: Iterator[bytes]
    facts: Facts = field(default_factory=dict)


Opener = Callable[[int, str | None], AbstractContextManager[Stream]]  # (start, validator) -> Stream


def save(path: Path, shown: str, opened: Opener, advice: str) -> Facts:
    """Save a file at `path`, and return the facts of the stream that finished it.

    `opened` is asked for the bytes from the length of what is there of the
    file's version; a stream that begins at 0 all the same starts it anew.

    Raises:
        DataError: it broke time and again without bringing anything; the line ends with `advice`.
    """
    failures = 0
    while True:
        start, validator = _so_far(path)
        try:
            with opened(start, validator) as stream:
                _append(path, shown, stream)
                _note(path).unlink(missing_ok=True)
                return stream.facts
        except BrokenOffError as error:
            now, _ = _so_far(path)
            failures = 1 if now > start else failures + 1
            if failures == _ATTEMPTS:
                kept = (
                    f" ({progress.amount(now, 'bytes')} are kept, and the next run goes on from there)" if now else ""
                )
                raise DataError(f"{shown}: {error}{kept}; {advice}") from None
            time.sleep(min(max(error.wait, _PAUSE * 2 ** (failures - 1)), _LONGEST))


def _note(path: Path) -> Path:
    """Return where the version is noted of which `path` is a part."""
    return path.with_name(f"{path.name}.version")


def _so_far(path: Path) -> tuple[int, str | None]:
    """Return how many bytes are there, and of which version; none where that is not known."""
    try:
        return path.stat().st_size, _note(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return 0, None


def _append(path: Path, shown: str, stream: Stream) -> None:
    """Write a stream's bytes behind those that are there."""
    if not stream.start:
        path.unlink(missing_ok=True)
        _note(path).unlink(missing_ok=True)
        if stream.validator:
            _note(path).write_text(stream.validator, encoding="utf-8")
    done = stream.start
    with path.open("ab") as file, progress.step(f"download {shown}", stream.total, "bytes") as report:
        for chunk in stream.chunks:
            file.write(chunk)
            done += len(chunk)
            report(done)
    if stream.total is not None and done != stream.total:
        if done > stream.total:
            path.unlink()
        raise BrokenOffError(f"was cut off after {done:,} of {stream.total:,} bytes")
