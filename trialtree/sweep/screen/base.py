"""What a sweep's driver tells while it runs, whatever shows it."""

import os
import sys
from collections.abc import Sequence
from typing import Any, Literal, Protocol

from trialtree.sweep.records import Sweep
from trialtree.sweep.screen.tally import Slot

Kind = Literal["table", "lines", "json", "auto"]


class Screen(Protocol):
    """Shows a sweep."""

    def update(self, sweep: Sweep, running: Sequence[Slot]) -> None:
        """Take in how far it is: as often as one likes, for it draws at most four times a second."""

    def note(self, line: str) -> None:
        """Say something else, above what is shown."""

    def close(self, reason: str | None) -> None:
        """Show the last state: `reason` as the journal has it, None where the driver fails."""


def chosen(kind: Kind) -> Kind:
    """Return what `auto` is here: the table on a terminal, lines elsewhere."""
    if kind != "auto":
        return kind
    capable = os.environ.get("TERM", "dumb") not in ("dumb", "unknown")
    return "table" if sys.stdout.isatty() and capable else "lines"


class Output:
    """A stream that may close or know few letters: what it cannot take costs the sweep nothing."""

    def __init__(self, stream: Any = None) -> None:
        self.stream = stream or sys.stdout
        self.gone = False
        if hasattr(self.stream, "reconfigure"):
            self.stream.reconfigure(errors="replace")

    def line(self, text: str) -> None:
        """Print a line at once."""
        self.write(text + "\n")

    def write(self, text: str) -> None:
        """Write text at once; nothing more once nobody reads."""
        if self.gone:
            return
        try:
            self.stream.write(text)
            self.stream.flush()
        except (OSError, ValueError):  # a pipe that was closed, a terminal that has gone
            self.leave()

    def flush(self) -> None:
        """Give what was written to whoever reads."""
        self.write("")

    def leave(self) -> None:
        """Write nothing more, neither when Python ends."""
        self.gone = True
        try:
            silent = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silent, self.stream.fileno())
            os.close(silent)
        except (OSError, ValueError):
            pass
