"""Tell what a trial changed against another, from Git and DVC alone.

    trialtree report [HEAD] [--base main] [--out report.md|report.html|DIR]

Reads   commits, DVC's cache; the default remote for reports that the cache lacks, with --pull for data and models
Writes  the file or folder of --out
"""

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from stages.errors import UserError
from stages.files import replacing
from trialtree.review import finding, markdown, page, provenance, swept, writing
from trialtree.review.blocks import Line, Picture, Section, Table, plain
from trialtree.review.finding import Findings, Options

_PLOTS = "plots"


class ReportError(UserError):
    """A report that cannot be written where it is to go."""


def check(out: Path | None) -> None:
    """See that a report can be written there, before it is made.

    Raises:
        ReportError: it cannot.
    """
    if out is None:
        return
    if out.suffix.lower() in (".md", ".html"):
        if out.is_dir():
            raise ReportError(f"--out: {out.name} is a folder")
    elif out.suffix or out.is_file():
        raise ReportError(f"--out: must be a folder or end in .md or .html, got {out.name}")
    folder = next(parent for parent in (out, *out.parents) if (parent.exists() and parent != out) or parent.is_dir())
    if not folder.is_dir():
        raise ReportError(f"--out: {folder} is no folder")


@contextmanager
def made(head: str, base: str | None, options: Options) -> Iterator[tuple[Line, list[Section]]]:
    """Yield the title and the sections of a report.

    Raises:
        UserError: there is no such head.
    """
    with finding.found(head, base, options) as found:
        origins = [provenance.origin(side) for side in found.sides]
        yield writing.title(found), writing.sections(found, origins, _sweep(found))


def _sweep(found: Findings) -> list[Section]:
    """Return what there is to tell of the trial's sweep."""
    try:
        return swept.sections(found.head)
    except (UserError, AttributeError, KeyError, TypeError, ValueError) as error:  # whatever the trials' files are
        found.notes.append(f"sweep: {error}")
        return []


def report(head: str, base: str, out: Path | None, options: Options, pictures: str | None = None) -> list[str]:
    """Write a report, and return what to print: it itself without `out`, else the files.

    Args:
        head: the revision that is judged.
        base: what it is compared with.
        out: a .md or .html file, or a folder for both, pictures and tables.
        options: what to look at.
        pictures: the address below which those who read the .md file find the pictures.

    Raises:
        UserError: there is no such head, or nothing can be written there.
    """
    check(out)
    with made(head, base, options) as (title, sections):
        return printed(title, sections, out, pictures)


def printed(title: Line, sections: Sequence[Section], out: Path | None, pictures: str | None = None) -> list[str]:
    """Write a report where it is to go, and return what to print."""
    if out is None:
        return [markdown.render(title, sections, _link(pictures)).rstrip("\n")]
    return write(title, sections, out, pictures)


def write(title: Line, sections: Sequence[Section], out: Path, pictures: str | None = None) -> list[str]:
    """Write a report, and return its files."""
    if out.suffix.lower() == ".md":
        return [_put(out, markdown.render(title, sections, _link(pictures)))]
    if out.suffix.lower() == ".html":
        return [_put(out, page.render(title, sections))]
    drawn = [block for section in sections for block in section.blocks if isinstance(block, Picture)]
    tables = [block for s in sections for block in s.blocks if isinstance(block, Table) and block.file and block.rows]
    (out / _PLOTS).mkdir(parents=True, exist_ok=True)
    for old in (out / _PLOTS).glob("*.png"):
        old.unlink()
    files = [
        _put(out / "report.md", markdown.render(title, sections, _link(pictures or _PLOTS))),
        _put(out / "report.html", page.render(title, sections, files=True)),
        *(_put(out / f"{table.file}.csv", as_csv(table)) for table in tables),
    ]
    for picture in drawn:
        with replacing(out / _PLOTS / f"{picture.name}.png") as partial:
            partial.write_bytes(picture.png)
        files.append(str(out / _PLOTS / f"{picture.name}.png"))
    return files


def _link(below: str | None) -> markdown.Link:
    return lambda picture: f"{below.rstrip('/')}/{picture.name}.png" if below else None


def _put(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return str(path)


def as_csv(table: Table) -> str:
    """Return all rows of a table as CSV; no cell is a formula, whatever program opens it."""
    target = io.StringIO()
    csv.writer(target, lineterminator="\n").writerows(
        [[_cell(plain(cell)) for cell in row] for row in ([*table.header], *table.rows)]
    )
    return target.getvalue()


def _cell(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula; a number stays one."""
    try:
        float(text)
    except ValueError:
        return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
    return text
