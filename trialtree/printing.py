"""Rows of a table for a terminal or a pipe."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from trialtree.at import Shown


def show(of: Shown) -> None:
    """Print the first rows under the names and types of the columns."""
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for name, kind in of.columns.items():
        table.add_column(f"{name}\n{kind}", justify="right" if kind in ("integer", "number") else "left", no_wrap=True)
    for row in of.first:
        table.add_row(*(_cell(value) for value in row))
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 100_000  # a pipe has no edge
    console.print(table)
    console.print(f"{_size(of)} rows, {len(of.columns)} columns of {of.path} at {of.commit[:7]}", soft_wrap=True)


def written(of: Shown, target: Path) -> str:
    """Return the line that says what was written."""
    return f"{of.rows} rows of {of.path} at {of.commit[:7]}: {target}"


def _size(of: Shown) -> str:
    return f"{len(of.first)} of {of.rows}" if len(of.first) < of.rows else str(of.rows)


def _cell(value: Any) -> str:
    return "" if value is None else str(value).replace("\n", "\\n")
