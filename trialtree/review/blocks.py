"""What a report is made of, before it is Markdown or HTML.

Whatever comes from data (names of columns, categories, params) is `Code`: no
form of the report takes it for markup, and no name is so long that it hides
the rest.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

_LONGEST = 60  # characters of a name that are shown


@dataclass(frozen=True)
class Code:
    """A text as it stands somewhere, cut to 60 characters, without line breaks or letters that hide or turn others."""

    text: str

    @property
    def shown(self) -> str:
        """The text as it may be shown."""
        text = self.text if len(self.text) <= _LONGEST else self.text[: _LONGEST - 1] + "…"
        return visible(text) or "∅"


@dataclass(frozen=True)
class Strong:
    """Words that stand out; never of data."""

    text: str


Piece = str | Code | Strong
Line = Piece | Sequence[Piece]  # pieces that follow each other


@dataclass(frozen=True)
class Paragraph:
    """Some sentences."""

    line: Line


@dataclass(frozen=True)
class Bullets:
    """A list of remarks."""

    lines: Sequence[Line]


@dataclass(frozen=True)
class Table:
    """Rows under a header; the first column is to the left, numbers are to the right."""

    header: Sequence[str]
    rows: Sequence[Sequence[Line]]
    left: int = 1  # columns from the left that are texts
    file: str | None = None  # the name of the CSV file with all rows, where the report is a folder
    most: int = 30  # rows shown


@dataclass(frozen=True)
class Picture:
    """A picture, and what it shows in words."""

    name: str  # of its file, without suffix
    alt: str
    png: bytes = field(repr=False)


@dataclass(frozen=True)
class Commands:
    """Lines for a shell."""

    lines: Sequence[str]


Block = Paragraph | Bullets | Table | Picture | Commands


@dataclass(frozen=True)
class Section:
    """A part of a report under a heading; folded where only few need it."""

    title: str
    blocks: Sequence[Block]
    folded: bool = False


def pieces(line: Line) -> list[Piece]:
    """Return the pieces of a line."""
    return [line] if isinstance(line, str | Code | Strong) else list(line)


def plain(line: Line) -> str:
    """Return a line as text, whole: for a CSV file."""
    return "".join(piece if isinstance(piece, str) else piece.text for piece in pieces(line))


def joined(lines: Sequence[Line], by: str = ", ") -> list[Piece]:
    """Return lines as one, with `by` between them."""
    found: list[Piece] = []
    for place, line in enumerate(lines):
        found += [by] if place else []
        found += pieces(line)
    return found


def value(of: Any) -> Line:
    """Return a value of params as YAML has it."""
    if of is None:
        return "–"
    return Code("true" if of is True else "false" if of is False else str(of))


def visible(text: str) -> str:
    """Return a text with numbers for letters that cannot be seen: controls, breaks, what turns the direction."""
    hidden = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return "".join(f"\\u{ord(c):04x}" if unicodedata.category(c) in hidden else c for c in text)
