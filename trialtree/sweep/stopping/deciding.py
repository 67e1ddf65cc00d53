"""A policy at work: it keeps the reports of all trials, and decides by its rule which of them to stop."""

from array import array
from collections.abc import Collection
from dataclasses import dataclass
from math import inf, isfinite, nan
from typing import TYPE_CHECKING

from trialtree.sweep.records import Decision
from trialtree.sweep.stopping.hyperband import Hyperband
from trialtree.sweep.stopping.rule import Goal, Rule

if TYPE_CHECKING:
    from trialtree.sweep.stopping.rule import Array


@dataclass
class _Run:
    """What is known of a trial's reports."""

    place: int  # in the columns
    bracket: int  # that it is compared within
    length: int = 0  # reports
    numbers: int = 0  # of them that are finite
    total: float = 0.0  # their sum
    best: float = -inf
    stopped: bool = False


class _Column:
    """A performance for each trial, NaN where there is none; it grows as trials come."""

    def __init__(self) -> None:
        self._values = array("d")

    def put(self, place: int, value: float) -> None:
        """Set that of a trial."""
        self._grow(place + 1)
        self._values[place] = value

    def first(self, count: int) -> "Array":
        """Return those (count,) of the first trials, to look at."""
        import numpy as np

        self._grow(count)
        return np.frombuffer(self._values, count=count)

    def _grow(self, count: int) -> None:
        if count > len(self._values):
            self._values.extend(array("d", [nan]) * (count - len(self._values)))


class Policy:
    """A rule, and the reports of a sweep's trials so far."""

    def __init__(self, rule: Rule, goal: Goal) -> None:
        self.rule, self.goal = rule, goal
        self.note: str | None = None  # for a person: why the rule could not say anything
        self._sign = 1 if goal == "maximize" else -1
        self._runs: dict[int, _Run] = {}  # by number of the trial
        self._newest = _Column()
        self._at: dict[tuple[int, int], _Column] = {}  # by bracket and report

    def report(self, number: int, t: int, value: float) -> None:
        """Take report t (from 1) of a trial; those left out before it are no numbers, one that is known stays.

        Of a trial that was stopped nothing is taken.
        """
        run = self._runs.get(number)
        if run is None:
            run = self._runs[number] = _Run(len(self._runs), self.rule.bracket(number))
        while not run.stopped and run.length < t:
            self._take(run, self._sign * value if run.length + 1 == t else nan)

    def _take(self, run: _Run, value: float) -> None:
        """Take how a trial performed at its next report."""
        run.length += 1
        if isfinite(value):
            run.numbers, run.total, run.best = run.numbers + 1, run.total + value, max(run.best, value)
        # Rounding must not put the average of equal reports above their best.
        performance = min(run.total / run.numbers, run.best) if self.rule.averaged and run.numbers else run.best
        self._newest.put(run.place, performance)
        if self.rule.asks(run.length, run.bracket):
            self._at.setdefault((run.bracket, run.length), _Column()).put(run.place, performance)

    def decide(self, number: int, among: Collection[int] | None = None) -> Decision | None:
        """Return the decision to stop a trial at its newest report, or None.

        With `among`, it is compared with these trials and itself; without, with all.
        """
        run = self._runs.get(number)
        if run is None or run.stopped or not run.length or not self.rule.asks(run.length, run.bracket):
            return None
        performances = self._compared(run, among)
        best = float(performances.max())
        if not isfinite(best):
            return None
        if fault := self.rule.fault(best, self.goal):
            self.note = self.note or fault
            return None
        threshold = self.rule.threshold(performances, self.goal)
        if threshold is None or run.best >= threshold:
            return None
        run.stopped = True
        return Decision(
            self.rule.policy, run.length, self._sign * run.best if run.numbers else nan, self._sign * threshold
        )

    def _compared(self, run: _Run, among: Collection[int] | None) -> "Array":
        """Return the performances (n,), up to the trial's newest report, of those that it is compared with."""
        import numpy as np

        count = len(self._runs)
        values = self._at[run.bracket, run.length].first(count)
        if not self.rule.level:
            values = np.where(np.isnan(values), self._newest.first(count), values)
        if among is not None:
            values = values[sorted({run.place} | {self._runs[other].place for other in among if other in self._runs})]
        return values[~np.isnan(values)]

    def forget(self, number: int) -> None:
        """Take back the reports of a trial that is tried again."""
        run = self._runs.get(number)
        if run is not None:
            self._runs[number] = _Run(run.place, run.bracket)
            for column in (self._newest, *self._at.values()):
                column.put(run.place, nan)


def make(rule: Rule | None, goal: Goal, length: int | None = None) -> Policy | None:
    """Return a policy for the reports of a sweep; None without a rule.

    `length` is the number of reports of a whole trial, where it is known: Hyperband's max_resource if none is given.
    """
    if isinstance(rule, Hyperband) and rule.max_resource is None and length is not None:
        rule = rule.model_copy(update={"max_resource": max(length, rule.min_resource)})
    return None if rule is None else Policy(rule, goal)
