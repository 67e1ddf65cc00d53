"""When a sweep is over: the limits of its section, trial by trial as they end."""

import time

from trialtree.sweep import ranking
from trialtree.sweep.records import Sweep, Trial
from trialtree.sweep.section import SweepParams

_HOPELESS = 3  # trials that lack the objective, none having it


class Limits:
    """Says why a sweep is over, as soon as it is."""

    def __init__(self, section: SweepParams, sweep: Sweep) -> None:
        self._section, self._sweep = section, sweep
        self._began = time.monotonic()
        self._progress = ranking.Progress(section.objectives)
        self._lacking = self._done = 0
        self.over: str | None = None
        for number in sweep.order:
            self.take(sweep.trials[number], again=True)

    def take(self, trial: Trial, *, again: bool = False) -> None:
        """Take in a trial that has ended; `again`: it is one of before, which ends nothing but what lasts."""
        limits = self._section.limits
        self._progress.take(trial)
        self._done += trial.state == "done"
        self._lacking += self._lacks(trial)
        failed = len(self._sweep.of("failed")) if limits.failures is not None else 0
        first = self._section.objectives[0]
        if limits.target is not None and trial.state == "done" and ranking.reached(trial, first, limits.target):
            self.over = f"limits.target is reached: {first.metric} {(trial.objective or (0.0,))[0]:.6g}"
        elif limits.patience is not None and self._progress.since >= limits.patience:
            self.over = f"limits.patience: none of the last {limits.patience} trials is better"
        elif limits.failures is not None and failed >= limits.failures and not again:
            self.over = f"limits.failures: {failed} trials failed"
        elif self._lacking >= _HOPELESS and not self._done and not again:
            self.over = f"no trial has the objective: {trial.reason}"

    def _lacks(self, trial: Trial) -> bool:
        """Say whether a trial was made whose pipeline writes no such metric as the objective."""
        missing = [goal.metric for goal in self._section.objectives if goal.metric not in trial.metrics]
        return trial.state == "failed" and trial.reason in [ranking.lacking(name, trial.metrics) for name in missing]

    def timed_out(self) -> str | None:
        """Return that the sweep has had its time, if it has."""
        timeout = self._section.limits.timeout
        if timeout is None or time.monotonic() - self._began < timeout:
            return None
        self.over = f"limits.timeout: {timeout:g} s are over"
        return self.over

    def full(self) -> bool:
        """Say whether there are as many trials as there may be."""
        trials = self._section.limits.trials
        return trials is not None and len(self._sweep.trials) >= trials


def total(section: SweepParams, size: int | None, known: int) -> int | None:
    """Return how many trials there will be; None where nobody knows."""
    counts = [count for count in (section.limits.trials, size) if count is not None]
    return max(min(counts), known) if counts else None
