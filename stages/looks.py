"""Look at every byte of a text file, by numpy, each processor at a stretch of it.

What holds for all bytes must be known before DuckDB parses them; in Python it
would take longer than the parsing.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from stages.threads import threads

_BEFORE = 3  # bytes kept before those that are new
_AT_ONCE = 2**19  # bytes; smaller parts make threads wait for each other
_WORTH = 2**22  # bytes for which a thread pays

_EXPONENT, _SIGNS = np.frombuffer(b"eE", np.uint8), np.frombuffer(b"+-", np.uint8)


class Look(ABC):
    """What is looked for, and what was found in one stretch of a file."""

    def __init__(self) -> None:
        """Begin, with memory to write into: to make it anew for each part may take longer than all the rest."""
        # Line ends stand before a file's first byte.
        self.held = bytearray(b"\n" * (_BEFORE + _AT_ONCE))
        self._bytes = np.frombuffer(self.held, np.uint8)
        self._masks = np.empty((2, _AT_ONCE), bool)

    def part(self, size: int, back: int = 0) -> NDArray[np.uint8]:
        """Return the new bytes (size,), or those that begin up to _BEFORE bytes earlier."""
        return self._bytes[_BEFORE - back : _BEFORE - back + size]

    def masks(self, size: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return two masks (size,) to write into."""
        one, other = self._masks[:, :size]
        return one, other

    @abstractmethod
    def see(self, size: int) -> bool:
        """Look at so many new bytes, and say whether to go on."""


L = TypeVar("L", bound=Look)


def looked(path: Path, make: Callable[[], L]) -> list[L]:
    """Return what was found in each stretch of a file; once one has seen enough, the others may stop, too.

    A line end is seen after the last byte if there is none.
    """
    size = path.stat().st_size
    count = threads(size // _WORTH)
    borders = [size * i // count for i in range(count + 1)]
    enough: list[bool] = []

    def stretch(start: int, end: int) -> L:
        look = make()
        here = memoryview(look.held)
        with path.open("rb", buffering=0) as file:
            if start:
                file.seek(start - _BEFORE)
                file.readinto(here[:_BEFORE])
            while start < end and not enough:
                read = file.readinto(here[_BEFORE : _BEFORE + min(_AT_ONCE, end - start)])
                if not read:  # the file has become shorter
                    break
                start += read
                if not look.see(read):
                    enough.append(True)
                here[:_BEFORE] = here[read : read + _BEFORE]
        if end == size and look.held[_BEFORE - 1] != ord("\n"):
            look.held[_BEFORE] = ord("\n")
            look.see(1)
        return look

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(stretch, borders[:-1], borders[1:]))


class Plain(Look):
    """Whether all is ASCII with Unix line ends, and what stands in it."""

    def __init__(self) -> None:
        """Begin."""
        super().__init__()
        self.plain, self.empty = True, True
        self.lines = self.quotes = 0
        self.blanks = self.tabs = False

    def see(self, size: int) -> bool:
        """Count by the characters up to the quote: in nearly all parts of nearly all files these are line ends."""
        new = self.part(size)
        mask, _ = self.masks(size)
        lines = np.count_nonzero(np.equal(new, ord("\n"), out=mask))
        self.lines += int(lines)
        # Signed, what is not ASCII is less than all that is.
        if np.count_nonzero(np.less_equal(new.view(np.int8), ord('"'), out=mask)) == lines:
            self.empty = self.empty and lines == size
            return True
        text = new.tobytes()
        self.plain = text.isascii() and b"\r" not in text and b"\0" not in text
        self.quotes += text.count(b'"')
        self.blanks, self.tabs = self.blanks or b" " in text, self.tabs or b"\t" in text
        self.empty = self.empty and not text.strip()
        return self.plain


class Odd(Look):
    """Whether a delimiter ends a line, and whether DuckDB may take a text for a number that the rule does not.

    The latter are 007, 1_000, +-1 and nan(1); it is told of cells without quotes and blanks around them.
    """

    def __init__(self, delimiter: str) -> None:
        """Begin."""
        super().__init__()
        self._delimiter = ord(delimiter)
        self.ends, self.digits = False, False

    def see(self, size: int) -> bool:
        """Look for both until both are found."""
        first, before, here = (self.part(size, back) for back in (2, 1, 0))
        mask, other = self.masks(size)
        if not self.ends:
            np.equal(here, ord("\n"), out=mask)
            mask &= np.equal(before, self._delimiter, out=other)
            self.ends = bool(mask.any())
        if not self.digits:
            # Up to the comma and the minus all characters but the digits and the point end a cell or begin a number.
            np.less(first, ord("."), out=mask)
            if self._delimiter > ord("."):
                mask |= np.equal(first, self._delimiter, out=other)
            mask &= np.equal(before, ord("0"), out=other)
            mask &= np.greater(here, ord("/"), out=other)
            self.digits = (bool(mask.any()) and self._are_odd(mask)) or self._has_signs(_BEFORE + size)
        return not (self.ends and self.digits)

    def _are_odd(self, mask: NDArray[Any]) -> bool:
        """Say whether what begins with 0 is more than a 0 before a delimiter, or an exponent as in 1e-05."""
        (at,) = np.nonzero(mask)
        third, first, here = (self.part(len(mask), back)[at] for back in (3, 2, 0))
        exponent = np.isin(third, _EXPONENT) & np.isin(first, _SIGNS)
        return bool((~exponent & (here != self._delimiter)).any())

    def _has_signs(self, end: int) -> bool:
        # To look for one character takes a tenth of the time that two take.
        return any(
            self.held.find(sign, 0, end) >= 0 and re.compile(wrong).search(self.held, 0, end) is not None
            for sign, wrong in ((b"+", rb"\+-"), (b"_", rb"\d_\d"), (b"(", rb"(?i)nan\("))
        )
