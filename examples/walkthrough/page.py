"""A Markdown page with commands and what they print."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_PROMPT = re.compile(r"([\w-]+)\$ (.*)")


@dataclass(frozen=True)
class Step:
    """A heading of the page, or a command: a line `MACHINE$ COMMAND` of a console block."""

    line: int  # of the page, from 1
    text: str
    machine: str | None = None  # of a command


def steps(page: str) -> list[Step]:
    """Return the headings and commands of a page, in its order."""
    found = []
    for number, line, inside in _lines(page):
        if inside and (match := _PROMPT.fullmatch(line)):
            found.append(Step(number, match[2], match[1]))
        elif not inside and line.startswith("#"):
            found.append(Step(number, line))
    return found


def filled(page: str, outputs: Mapping[int, str]) -> str:
    """Return the page with nothing in its console blocks but commands, and below each what its line's output is."""
    lines = []
    for number, line, inside in _lines(page):
        if not inside or _PROMPT.fullmatch(line):
            lines += [line, *outputs.get(number, "").splitlines()]
    return "\n".join(lines) + "\n"


def _lines(page: str) -> Iterator[tuple[int, str, bool]]:
    """Yield each line's number, the line, and whether it is in a console block (its fences are not)."""
    fence = ""
    for number, line in enumerate(page.splitlines(), 1):
        if line.startswith("```"):
            fence = "" if fence else line
            yield number, line, False
        else:
            yield number, line, fence == "```console"
