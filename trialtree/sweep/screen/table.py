"""The live table on a terminal: as many lines as it has, as wide as it is, drawn at most four times a second."""

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from stages import progress
from trialtree.sweep.records import ENDED, Sweep, Trial
from trialtree.sweep.screen import words
from trialtree.sweep.screen.base import Output
from trialtree.sweep.screen.tally import Slot, Tally

if TYPE_CHECKING:
    from rich.text import Text

_EVERY = 0.25  # seconds between two frames
_LAST = 20  # trials that ended
_COLORS = {"done": "green", "pruned": "yellow", "failed": "red", "running": "cyan", "waiting": "dim"}

Part = tuple[str, str]  # text and its style
Line = Sequence[Part]


class Table:
    """Draws lines over those of before, and leaves the first two of them behind."""

    def __init__(self, sweep: Sweep, tally: Tally, stream: Any = None) -> None:
        from rich.console import Console
        from rich.live import Live

        self._output = Output(stream)
        file: Any = _Tolerant(self._output)
        self._console = Console(file=file, highlight=False, markup=False, emoji=False)
        # Nothing draws but `update`: a thread of its own would wake up beside the driver.
        self._live = Live(console=self._console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
        self._tally = tally
        self._last: deque[Trial] = deque(maxlen=_LAST)
        self._next = tally.clock()
        self._width = self._console.width
        self._sweep, self._running = sweep, list[Slot]()
        self._last.extend(tally.take(sweep)[-_LAST:])

    def update(self, sweep: Sweep, running: Sequence[Slot]) -> None:
        """Draw, if it is time."""
        if (now := self._tally.clock()) < self._next or self._output.gone:
            return
        self._next = now + _EVERY
        self._sweep, self._running = sweep, list(running)
        self._last.extend(self._tally.take(sweep)[-_LAST:])
        self._draw()

    def note(self, line: str) -> None:
        """Print a line above the table."""
        if not self._output.gone:
            self._console.print(line, soft_wrap=True)

    def close(self, reason: str | None) -> None:
        """Leave a short last state."""
        self._last.extend(self._tally.take(self._sweep)[-_LAST:])
        self._running = []
        if self._output.gone:
            return
        self._start()
        lines = [*self._head()[:2], *([[(f"ended: {reason}", "dim")]] if reason else [])]
        self._live.update(self._text(lines, self._console.width), refresh=True)
        self._live.stop()

    def _start(self) -> None:
        """Begin to draw; anew on a screen that has become narrower, whose old lines are broken."""
        width = self._console.width
        if self._live.is_started and width < self._width:
            self._live.stop()
            self._console.clear()
        self._width = width
        if not self._live.is_started:
            self._live.start()

    def _draw(self) -> None:
        self._start()
        width, height = self._console.size
        self._live.update(self._text(self.frame(width, height - 1), width), refresh=True)

    def frame(self, width: int, height: int) -> list[Line]:
        """Return the lines of a screen of this size."""
        lines = self._head()
        lines += self._best(width)
        room = height - len(lines)
        running = sorted(self._running, key=lambda slot: slot.number)
        # Both lists have their share, and what one leaves the other has.
        share = max(room - 1 - min(len(self._last), _LAST), room // 2)
        shown = running if len(running) <= share else running[: max(share - 1, 0)]
        lines += [self._slot(slot, width) for slot in shown]
        if len(running) > len(shown):
            lines.append([(f"  and {len(running) - len(shown)} more that run", "dim")])
        room = height - len(lines)
        lines += [self._ended(trial) for trial in [*self._last][::-1][: max(room, 0)]]
        return lines[:height]

    def _head(self) -> list[Line]:
        """Return who it is, and how far."""
        tally = self._tally
        of = f"{tally.ended:,}" + (f" of {tally.total:,}" if tally.total is not None else "")
        said = [f"{of} trials", progress.duration(tally.elapsed)]
        if rate := tally.rate:
            said.append(f"{rate:.3g} a second" if rate >= 1 else f"{1 / rate:.3g} s a trial")
        if (left := tally.left) is not None and self._running:
            said.append(f"{progress.duration(left)} left")
        counts: list[Part] = []
        for state, count in (("running", len(self._running)), *((state, tally.counts[state]) for state in ENDED)):
            if count or state == "done":
                counts += [("   " if counts else "", ""), (f"{state} ", ""), (f"{count:,}", _COLORS[state])]
        if self._sweep.repeats:
            counts.append((f"   repeats {self._sweep.repeats:,}", "dim"))
        return [[(f"sweep {self._sweep.head.id}", "bold"), ("   " + ", ".join(said), "")], counts, []]

    def _best(self, width: int) -> list[Line]:
        """Return the best trial so far, its params on as many lines as they need, three at most."""
        best = self._tally.best
        if best is None or best.objective is None:
            return []
        first: Line = [(f"best #{best.number}", "bold green"),
                       (f"  {words.objective(best, self._tally.goals.objectives)}", "bold")]  # fmt: skip
        names = words.short(best.values)
        lines = _filled([words.params({key: best.values[key]}, names) for key in best.values], width - 2)
        return [first, *([("  " + line, "")] for line in lines[:3]), []]

    def _slot(self, slot: Slot, width: int) -> Line:
        """Return the line of a trial that runs."""
        seconds = f"{self._tally.clock() - slot.since:.1f} s"
        said = f"{slot.stage or '':9} {seconds:>8}"
        last = f"  {words.number(slot.last[1])} at {slot.last[0]}" if slot.last else ""
        trial = self._sweep.trials.get(slot.number)
        values = f"  {words.params(trial.values)}" if trial and width > 50 else ""
        return [(f"{'#' + str(slot.number):>6} ", ""), (f"{'running':8} ", _COLORS["running"]), (said + last, ""),
                (values, "dim")]  # fmt: skip

    def _ended(self, trial: Trial) -> Line:
        """Return the line of a trial that has ended."""
        number: Part = (f"{'#' + str(trial.number):>6} ", "")
        state: Part = (f"{trial.state:8} ", _COLORS[trial.state])
        if trial.state != "done":
            return [number, state, (words.ended(trial), "")]
        said = f"{words.numbers(trial.objective):9} {words.seconds(trial.seconds):>8}"
        return [number, state, (said, ""), ("  " + words.params(trial.values), "dim")]

    def _text(self, lines: Sequence[Line], width: int) -> "Text":
        """Return lines cut to the width."""
        from rich.text import Text

        joined = Text(no_wrap=True, overflow="crop", end="")
        for place, line in enumerate(lines):
            text = Text()
            for said, style in line:
                text.append(_printable(said), style)
            text.truncate(width, overflow="ellipsis" if self._console.encoding.startswith("utf") else "crop")
            joined.append_text(text).append("\n" if place < len(lines) - 1 else "")
        return joined


def _printable(text: str) -> str:
    """Return text without what moves a cursor."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def _filled(texts: Sequence[str], width: int) -> list[str]:
    """Return texts on lines of a width, as many on each as there is room for."""
    lines: list[str] = []
    for text in texts:
        if lines and len(lines[-1]) + 1 + len(text) <= width:
            lines[-1] += f" {text}"
        else:
            lines.append(text)
    return lines


class _Tolerant:
    """A terminal for rich that may go away."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def write(self, text: str) -> int:
        self._output.write(text)
        return len(text)

    def flush(self) -> None:
        self._output.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._output.stream, name)
