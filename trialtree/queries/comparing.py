"""Show how trials differ.

trialtree compare A B [C …] [--plot FILE.png] [--json]
"""

from collections.abc import Callable, Sequence
from typing import Any

from rich.table import Table

from trialtree.branches import locks
from trialtree.queries.differences import Comparison, Row
from trialtree.queries.tables import console


def show(of: Comparison) -> None:
    """Print the tables, or in a line that there is nothing to tell."""
    out, plain = console()
    shown: list[tuple[str, list[Row], Callable[[Row], list[str]]]] = [
        ("params", of.params, _texts),
        ("metrics", _main(of.metrics), _numbers),
        ("data", of.data, _hashes),
        ("code", of.code, _hashes),
    ]
    for title, rows, cells in shown:
        if rows:
            out.print(_table(title, of, rows, cells, plain=plain))
            out.print()
    if same := [title for title, rows, _ in shown if not rows and (title != "metrics" or of.metrics)]:
        out.print(f"the same: {', '.join(same)}", soft_wrap=True)
    if not of.metrics:
        out.print("no side has metrics", soft_wrap=True)
    for note in of.notes:
        out.print(note, soft_wrap=True)


def _main(rows: Sequence[Row]) -> list[Row]:
    """Return the metrics, without their spread over the folds; none where no side has them differently."""
    return [row for row in rows if not row.name.endswith("_std")] if any(row.differs for row in rows) else []


def _table(title: str, of: Comparison, rows: Sequence[Row], cells: Callable[[Row], list[str]], *, plain: bool) -> Table:
    made = Table(box=None, header_style="bold", padding=(0, 2 if plain else 1, 0, 0))
    made.add_column(title, overflow="fold")
    for side in of.sides:
        made.add_column(side.shown, justify="right" if title == "metrics" else "left", overflow="fold")
    for row in rows:
        made.add_row(row.name, *cells(row))
    return made


def _texts(row: Row) -> list[str]:
    return ["-" if value is None else _text(value) for value in row.values]


def _text(value: Any) -> str:
    return "true" if value is True else "false" if value is False else str(value)


def _hashes(row: Row) -> list[str]:
    """Return hashes in short; numbers of rows and columns as they are."""
    return ["-" if value is None else value[:7] if isinstance(value, str) else f"{value:,}" for value in row.values]


def _numbers(row: Row) -> list[str]:
    """Return values, behind the first each with its difference to that."""
    found = []
    for place, (value, change) in enumerate(zip(row.values, row.changes(), strict=True)):
        text = "-" if value is None else locks.shown(value)
        found.append(f"{text} ({_change(change)})" if place and change is not None else text)
    return found


def _change(change: float) -> str:
    """Return a difference with its sign; `=` for none."""
    return "=" if change == 0 else f"{change:+,}" if isinstance(change, int) else f"{change:+.4g}"
