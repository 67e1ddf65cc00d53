"""How far a sweep is: counted as it goes on, so that a look costs microseconds however many trials there are."""

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from trialtree.sweep.records import ENDED, State, Sweep, Trial
from trialtree.sweep.screen.standing import Goals, better

_WINDOW = 20.0  # seconds that the rate is taken over
_APART = 0.5  # seconds between its samples


@dataclass(frozen=True)
class Slot:
    """A trial that runs now."""

    number: int
    stage: str | None = None  # None before the first begins
    since: float = 0.0  # time.monotonic() when the trial began
    last: tuple[int, float] | None = None  # the last report of the curve: (t, value)


@dataclass
class Tally:
    """What has been seen of a sweep."""

    goals: Goals
    total: int | None = None  # trials that there will be; None where nobody knows
    timeout: float | None = None  # seconds that the sweep may take
    clock: Callable[[], float] = time.monotonic
    counts: Counter[State] = field(default_factory=Counter)
    best: Trial | None = None

    def __post_init__(self) -> None:
        self.begun = self.clock()
        self._seen: dict[int, tuple[int, State]] = {}  # by number: the attempt that ended, and how
        self._samples: deque[tuple[float, int]] = deque([(self.begun, 0)])
        self._before = 0  # trials that had ended before this driver began
        self._fresh = True

    def take(self, sweep: Sweep) -> list[Trial]:
        """Take in what has ended since, and return it in that order."""
        new: list[Trial] = []
        for number in reversed(sweep.order):
            trial = sweep.trials[number]
            if self._seen.get(number) == (trial.attempt, trial.state):
                break  # what ends is always added last
            if trial.state in ENDED:  # not one that is tried again
                new.append(trial)
        for trial in reversed(new):
            self._count(trial)
        if self._fresh:
            self._before, self._fresh = self.ended, False
        now = self.clock()
        if now - self._samples[-1][0] >= _APART:
            self._samples.append((now, self.ended - self._before))
            while now - self._samples[0][0] > _WINDOW:
                self._samples.popleft()
        return new[::-1]

    def _count(self, trial: Trial) -> None:
        if before := self._seen.get(trial.number):
            self.counts[before[1]] -= 1
        self._seen[trial.number] = (trial.attempt, trial.state)
        self.counts[trial.state] += 1
        if trial.state == "done" and (self.best is None or better(self.goals, trial, self.best)):
            self.best = trial

    @property
    def ended(self) -> int:
        """How many trials have ended."""
        return sum(self.counts.values())

    @property
    def elapsed(self) -> float:
        """Seconds since this driver began."""
        return self.clock() - self.begun

    @property
    def rate(self) -> float | None:
        """Trials a second of late; None before there are any."""
        since, count = self._samples[0]
        seconds = self.clock() - since
        done = self.ended - self._before - count
        return done / seconds if done and seconds > 0 else None

    @property
    def left(self) -> float | None:
        """Seconds that it will go on; None where nobody knows."""
        rate = self.rate
        by_trials = None if self.total is None or rate is None else max(self.total - self.ended, 0) / rate
        by_time = None if self.timeout is None else max(self.timeout - self.elapsed, 0)
        known = [seconds for seconds in (by_trials, by_time) if seconds is not None]
        return min(known, default=None)
