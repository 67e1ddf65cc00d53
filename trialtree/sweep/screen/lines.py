"""Plain lines for a log: every ten seconds, at each new best and the first failures."""

from collections.abc import Sequence
from typing import Any

from stages import progress
from trialtree.sweep.records import ENDED, Sweep, Trial
from trialtree.sweep.screen import words
from trialtree.sweep.screen.base import Output
from trialtree.sweep.screen.tally import Slot, Tally

_EVERY = 10.0  # seconds between two lines of how far it is
_FAILURES = 5  # that are told one by one


class Lines:
    """Prints a line where there is something to say."""

    def __init__(self, sweep: Sweep, tally: Tally, title: str, stream: Any = None) -> None:
        self._output = Output(stream)
        self._tally = tally
        self._said = tally.clock()
        self._failures = 0
        self._sweep = sweep
        there = tally.take(sweep)
        self._best = tally.best
        self._output.line(title + (f"; {words.count(len(there), 'trial')} from before" if there else ""))

    def update(self, sweep: Sweep, running: Sequence[Slot]) -> None:
        """Tell what has ended since."""
        self._sweep = sweep
        self._tell(self._tally.take(sweep))
        if self._tally.clock() - self._said >= _EVERY:
            self._said = self._tally.clock()
            self._output.line(self._so_far(len(running)))

    def note(self, line: str) -> None:
        """Print a line."""
        self._output.line(line)

    def close(self, reason: str | None) -> None:
        """Print the last line."""
        self._tell(self._tally.take(self._sweep))
        self._output.line(f"{self._so_far(0)}; {reason}" if reason else self._so_far(0))

    def _tell(self, new: Sequence[Trial]) -> None:
        """Print what is new: failures in their order, and the best of all that ended."""
        for trial in new:
            if trial.state == "failed":
                self._failures += 1
                if self._failures <= _FAILURES:
                    log = f"; its log: trialtree logs {self._sweep.head.id}/{trial.number}" if trial.log else ""
                    self._output.line(f"trial {trial.number} failed: {words.ended(trial)}{log}")
                elif self._failures == _FAILURES + 1:
                    self._output.line("more trials fail; from here on they are counted")
        best = self._tally.best
        if best is not None and best is not self._best:
            self._best = best
            value = words.objective(best, self._tally.goals.objectives)
            self._output.line(f"trial {best.number} is the best: {value}; {words.params(best.values)}")

    def _so_far(self, running: int) -> str:
        """Return how far it is."""
        tally = self._tally
        of = f" of {tally.total:,}" if tally.total is not None else ""
        counts = [f"{tally.counts[state]:,} {state}" for state in ENDED if tally.counts[state] or state == "done"]
        said = f"{tally.ended:,}{of} trials in {progress.duration(tally.elapsed)}: {', '.join(counts)}"
        if running:
            said += f", {running:,} running"
            if (left := tally.left) is not None:
                said += f"; {progress.duration(left)} left"
        return said
