"""Say how far a long step is: a bar on a terminal, a plain line now and then elsewhere, on stderr.

A step that is over within a second says nothing.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, Protocol

from stages import logs

if TYPE_CHECKING:
    import duckdb

Unit = Literal["rows", "bytes", "iterations", "trials"]

_PATIENCE = 1.0  # seconds before a bar appears
_EVERY = 10.0  # seconds between plain lines
_POLL = 0.25  # seconds between questions to DuckDB


class Report(Protocol):
    """Is told how much is done, of the step's total, and what else there is to show."""

    def __call__(self, done: int, text: str = "") -> None: ...


@contextmanager
def step(what: str, total: int | None = None, unit: Unit = "rows") -> Iterator[Report]:
    """Yield a function to be called with what is done of `total` (None: unknown), as often as one likes."""
    shown = _Bar(what, total, unit) if sys.stderr.isatty() else _Lines(what, total, unit)
    try:
        yield shown.report
    finally:
        shown.close()


@contextmanager
def watched(database: "duckdb.DuckDBPyConnection", what: str, total: int, unit: Unit = "rows") -> Iterator[None]:
    """Report how far a `databases.connection` is with the queries of the block, as shares of `total`."""
    done = threading.Event()

    def poll(report: Report) -> None:
        while not done.wait(_POLL):
            share = database.query_progress()
            if 0 <= share < 100:
                report(int(total * share / 100))

    with step(what, total, unit) as report:
        thread = threading.Thread(target=poll, args=(report,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


class _Lines:
    """Plain lines, the first of them after `_EVERY` seconds."""

    def __init__(self, what: str, total: int | None, unit: Unit) -> None:
        self.what, self.total, self.unit = what, total, unit
        self.begun = self.said = time.monotonic()

    def report(self, done: int, text: str = "") -> None:
        now = time.monotonic()
        if now - self.said >= _EVERY:
            self.said = now
            said = line(self.what, done, self.total, self.unit, now - self.begun)
            print(f"{said}, {text}" if text else said, file=sys.stderr, flush=True)

    def close(self) -> None:
        pass


def line(what: str, done: int, total: int | None, unit: Unit, seconds: float) -> str:
    """Return how far a step is after so many seconds, in words."""
    if total is None:
        return f"{what}: {amount(done, unit)}"
    left = f", {duration(seconds * (total - done) / done)} left" if done else ""
    so_far = amount(done, unit) if unit == "bytes" else f"{done:,}"
    return f"{what}: {so_far} of {amount(total, unit)} ({100 * done // max(total, 1)} %){left}"


def amount(count: int, unit: Unit) -> str:
    """Return `1,234,567 rows`, `50 iterations` or `1.2 MB`."""
    if unit != "bytes":
        return f"{count:,} {unit}"
    if count < 1000:
        return f"{count} B"
    name, size = next((n, s) for n, s in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)) if count >= s)
    return f"{count / size:.1f} {name}"


def duration(seconds: float) -> str:
    """Return `42 s`, `3 min 20 s` or `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


class _Bar:
    """A bar of rich's, which is imported when the step turns out to be long, and is gone when the step ends."""

    def __init__(self, what: str, total: int | None, unit: Unit) -> None:
        self.what, self.total, self.unit = what, total, unit
        self.begun = time.monotonic()
        self.bar: Any = None

    def report(self, done: int, text: str = "") -> None:
        if self.bar is None:
            if time.monotonic() - self.begun < _PATIENCE:
                return
            self.bar = self._made()
            self.task = self.bar.add_task(self.what, total=self.total, text="")
            self.bar.start()
            logs.follow()
        seconds = time.monotonic() - self.begun
        said = line("", done, self.total, self.unit, seconds).removeprefix(": ")
        if text:
            # 80 columns hold no count beside it, and the bar shows as much.
            said = f"{said.partition(' (')[2].replace(')', '') or said}, {text}"
        self.bar.update(self.task, completed=done, text=said)

    def _made(self) -> Any:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"))
        return Progress(*columns, console=Console(file=logs.bare(sys.stderr)), transient=True)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.stop()
