"""The side file of an output: each bad row, its column and what is wrong with it."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from stages import files
from trialtree.serving.faults import Fault

HEADER = ("file", "row", "column", "reason")


def of(out: Path) -> Path:
    """Return the place of an output's side file."""
    return out.with_name(f"{out.name}.errors.csv")


def write(out: Path, faults: Iterable[tuple[str, Fault]]) -> None:
    """Write the side file from the faults of named inputs; without any, one of an earlier prediction is removed."""
    rows = _rows(faults)
    first = next(rows, None)
    if first is None:
        of(out).unlink(missing_ok=True)
        return
    with files.writing(of(out)) as file:
        file.write(files.as_csv([HEADER, first]))
        for row in rows:
            file.write(files.as_csv([row]))


def _rows(faults: Iterable[tuple[str, Fault]]) -> Iterator[Sequence[object]]:
    for shown, fault in faults:
        yield _safe(shown), fault.row, _safe(fault.column or ""), _safe(fault.reason)


def _safe(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
