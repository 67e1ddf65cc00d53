"""What the sampler is told, and when: at once, or in the order of the trials.

With `order: free` the sampler knows of a trial as soon as it has ended. With
`order: fixed` trial n is drawn knowing exactly trials 0 to n - concurrent, so
that the same seed gives the same trials whatever takes how long; a slot may
wait for the slowest then.
"""

from collections.abc import Mapping
from typing import Any

from trialtree.sweep import samplers
from trialtree.sweep.records import ENDED, Sweep, Trial
from trialtree.sweep.samplers import Point, Sampler
from trialtree.sweep.section import SweepParams


class Teller:
    """Stands between the driver and the sampler of its sweep."""

    def __init__(self, section: SweepParams, content: Mapping[str, Any], sweep: Sweep, concurrent: int) -> None:
        """Make the sampler, and bring it to where the journal's sweep has come.

        Raises:
            UserError: it cannot search the space, or what start_from names is not there.
        """
        self.sampler: Sampler = samplers.make(section, content, sweep.head.time)
        self._sweep, self._concurrent = sweep, concurrent
        self._fixed = section.order == "fixed"
        self._told = 0  # with a fixed order: trials told
        self._repeats = 0
        for number in sorted(sweep.trials):
            self.sampler.restore(number, _point(sweep.trials[number]))
        for trial in sweep.of("waiting"):
            # JSON has no other keys of a mapping than texts.
            if (point := self.sampler.ask(trial.number)) is not None:
                trial.values = point.values
        if not self._fixed:
            for number in sweep.order:
                if sweep.trials[number].state in ENDED:
                    self._tell(sweep.trials[number])
        self._repeats = self.sampler.repeats

    def may_ask(self) -> bool:
        """Say whether all that the next trial is to know has ended."""
        number = len(self._sweep.trials)
        known = range(self._told, number - self._concurrent + 1)
        return not self._fixed or all(self._sweep.trials[n].state in ENDED for n in known)

    def ask(self, number: int) -> tuple[Point | None, int]:
        """Return the point of a trial, None where nothing new is left, and how many draws were of known ones."""
        while self._fixed and self._told <= number - self._concurrent:
            self._tell(self._sweep.trials[self._told])
            self._told += 1
        point = self.sampler.ask(number)
        repeats, self._repeats = self.sampler.repeats - self._repeats, self.sampler.repeats
        return point, repeats

    def source(self, number: int) -> str:
        """Return what the point of a trial that was just asked for came from."""
        return "start_from" if number < getattr(self.sampler, "started", 0) else "sampler"

    def tell(self, trial: Trial) -> None:
        """Take a trial that has ended."""
        if not self._fixed:
            self._tell(trial)

    def _tell(self, trial: Trial) -> None:
        self.sampler.tell(trial.number, trial.state, trial.objective, trial.curve)

    def settled(self, number: int) -> set[int] | None:
        """Return the trials that a trial is compared with, None for all: with a fixed order those it was drawn by."""
        return set(range(max(0, number - self._concurrent + 1))) if self._fixed else None


def _point(trial: Trial) -> Point:
    return Point(trial.values, trial.raw)
