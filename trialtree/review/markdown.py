"""A report as Markdown that GitHub and GitLab render, within the 65,536 characters of a comment."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from trialtree.review.blocks import Block, Bullets, Code, Commands, Line, Paragraph, Picture, Section, Strong, Table
from trialtree.review.blocks import pieces as pieces_of

MARK = "<!-- trialtree report -->"  # by which a comment is found again
LIMIT = 65_000  # characters; GitHub takes 65,536, and who comments may add a link
_UNFOLDED, _FEW = 15, 3  # rows of a table that are seen at once; a few more are not folded away
_ROWS = (1000, 100, 30, 10, 3)  # of a table at most, fewer and fewer until all fits
_CUT = "*Cut here: a comment takes no more. `trialtree report --out report.html` has all of it.*\n"

_CODE = re.compile(r"(`[^`\n|]+`)")  # as our own words have it
Link = Callable[[Picture], str | None]  # the address of a picture; None where it has none


def render(title: Line, sections: Sequence[Section], link: Link, limit: int = LIMIT) -> str:
    """Return a report; `link` says where a picture is."""
    head = f"{MARK}\n## {_line(title)}\n\n"
    for most in _ROWS:
        text = head + "".join(_section(section, most, link) for section in sections)
        if len(text) <= limit:
            return text
    return _cut(head, sections, link, limit - len(_CUT)) + _CUT


def _cut(text: str, sections: Sequence[Section], link: Link, limit: int) -> str:
    """Return as many whole sections as there is room for, and of the next one as many blocks."""
    for section in sections:
        prefixes = (replace(section, blocks=section.blocks[:n]) for n in range(len(section.blocks), -1, -1))
        made = (_section(prefix, _ROWS[-1], link) for prefix in prefixes)
        fitting = next(part for part in made if len(text) + len(part) <= limit)  # no block at all is no text
        text += fitting
        if fitting != _section(section, _ROWS[-1], link):
            break
    return text


def _section(section: Section, most: int, link: Link) -> str:
    body = "\n\n".join(part for block in section.blocks for part in _block(block, most, link))
    if not body:
        return ""
    if section.folded:
        return f"<details><summary>{section.title}</summary>\n\n{body}\n\n</details>\n\n"
    return f"{'### ' + section.title + chr(10) * 2 if section.title else ''}{body}\n\n"


def _block(block: Block, most: int, link: Link) -> Iterator[str]:
    match block:
        case Paragraph():
            yield _line(block.line)
        case Bullets():
            shown = [f"- {_line(line)}" for line in block.lines[:most]]
            if left := len(block.lines) - len(shown):
                shown.append(f"- and {left:,} more")
            if shown:
                yield "\n".join(shown)
        case Table():
            yield from _table(block, min(most, block.most))
        case Picture():
            if address := link(block):
                yield f"![{_escaped(block.alt)}]({address})"
        case Commands():
            yield "```console\n" + "\n".join(block.lines) + "\n```"


def _table(table: Table, most: int) -> Iterator[str]:
    """Yield a table, the rows behind the first ones folded, and how many are left out."""
    if not table.rows:
        return
    marks = [":--" if place < table.left else "--:" for place in range(len(table.header))]
    header = [_row([_escaped(name) for name in table.header]), _row(marks)]
    rows = [_row([_line(cell, in_table=True) for cell in row]) for row in table.rows[:most]]
    shown = rows if len(rows) <= _UNFOLDED + _FEW else rows[:_UNFOLDED]
    yield "\n".join([*header, *shown])
    if folded := rows[len(shown) :]:
        inner = "\n".join([*header, *folded])
        yield f"<details><summary>and {len(folded):,} more</summary>\n\n{inner}\n\n</details>"
    if (left := len(table.rows) - most) > 0:
        yield f"*and {left:,} more*"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _line(line: Line, *, in_table: bool = False) -> str:
    found = ""
    for piece in pieces_of(line):
        if isinstance(piece, Code):
            found += _code(piece, in_table=in_table)
        elif isinstance(piece, Strong):
            found += f"**{_escaped(piece.text)}**"
        else:
            found += _escaped(piece)
    return found


def _code(code: Code, *, in_table: bool) -> str:
    """Return a text between more backticks than it has in a row: nothing in it is markup, a mention or a link."""
    text = code.shown
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    pad = " " if text.startswith(("`", " ")) or text.endswith(("`", " ")) else ""
    # A table's own rule: there, and only there, a bar must be escaped even within backticks.
    return f"{fence}{pad}{text.replace('|', chr(92) + '|') if in_table else text}{pad}{fence}"


def _escaped(text: str) -> str:
    """Return words of ours and what they quote: but for code in backticks nothing is markup, a link or a mention."""
    return "".join(part if at % 2 else _inert(part) for at, part in enumerate(_CODE.split(text)))


def _inert(text: str) -> str:
    escaped = re.sub(r"([\\*_\[\]<>|`~])", r"\\\1", text.replace("&", "&amp;"))
    return re.sub(r"([@#]|www|https?:|ftp:|mailto:)", "\\1\u200b", escaped)
