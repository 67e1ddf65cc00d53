"""`trialtree call`, whole: what is asked, printed and written."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.files import replacing
from stages.tables import ROW
from trialtree.calling import comparing, described, sending, tables
from trialtree.calling.asked import Asked
from trialtree.calling.connection import Connection
from trialtree.calling.sending import Answered
from trialtree.predicting.layout import PREDICTED

if TYPE_CHECKING:
    import pyarrow as pa


def call(asked: Asked, note: Callable[[str], None]) -> None:
    """Send a table to an endpoint, and print what it predicts; `note` is given what is to be said beside.

    Raises:
        UserError: in one line.
    """
    connection = Connection.of(asked)
    if connection.shows_key:
        note(f"{connection.base}: the key goes there for all on the way to read; https would hide it")
    with tempfile.TemporaryDirectory() as folder, connection.pool:
        about = described.ask(connection)
        answered = sending.send(asked, connection, about, tables.opened(asked, Path(folder)))
    if answered.lacking:
        note(f"{answered.shown} has no {', '.join(answered.lacking)}: sent as gaps")
    _show(answered, asked)
    if asked.compare:
        found, notes = comparing.metrics(answered, asked.compare)
        for name, value in found.items():
            print(f"{name} {value:.6g}")
        for line in notes:
            note(line)
    if asked.out:
        _write(answered, asked.out)
        print(f"written to {asked.out.name}")
    print(summary(answered))


def summary(of: Answered) -> str:
    """Return what was done in one line."""
    rows = len(of.predicted)
    named = {f"{of.described.model}/{version}": count for version, count in of.versions.items()}
    by = ", ".join(named) if len(named) == 1 else ", ".join(f"{n:,} by {name}" for name, n in named.items())
    spent = f"{of.seconds:.3f}" if of.seconds < 1 else f"{of.seconds:.1f}"
    return f"{rows:,} rows of {of.shown} in {spent} s, {rows / of.seconds:,.0f} rows/s: {by}"


def _show(of: Answered, asked: Asked) -> None:
    """Print the first rows: their number, what the target was if it is there, what is predicted."""
    if not asked.rows:
        return
    from rich.console import Console
    from rich.table import Table

    shown = _joined(of).slice(0, asked.rows)
    wanted = {ROW, of.described.target, asked.compare, PREDICTED, *(f"p_{label}" for label in of.labels)}
    names = [name for name in shown.column_names if name in wanted]
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for name in names:
        table.add_column(name, justify="right" if _numeric(shown.schema.field(name).type) else "left", no_wrap=True)
    for row in zip(*(shown.column(name).to_pylist() for name in names), strict=True):
        table.add_row(*map(_cell, row))
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 100_000  # a pipe has no edge
    console.print(table)
    if (left := len(of.predicted) - shown.num_rows) > 0:
        console.print(f"… and {left:,} more", soft_wrap=True)


def _joined(of: Answered) -> "pa.Table":
    """Return the kept columns and the predictions."""
    import pyarrow as pa

    found = of.kept.append_column(PREDICTED, pa.array(of.predicted.tolist()))
    if of.probabilities is not None:
        for place, label in enumerate(of.labels):
            found = found.append_column(f"p_{label}", pa.array(of.probabilities[:, place]))
    return found


def _numeric(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else str(value).replace("\n", "\\n")


def _write(of: Answered, target: Path) -> None:
    """Write the kept columns and the predictions, whole or not at all."""
    with replacing(target) as partial:
        if target.suffix.lower() == ".csv":
            from pyarrow import csv

            csv.write_csv(_joined(of), str(partial))
        else:
            import pyarrow.parquet as pq

            pq.write_table(_joined(of), partial)
