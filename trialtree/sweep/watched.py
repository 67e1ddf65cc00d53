"""Early termination of a sweep that runs: which file is watched, and what the policy says of each report."""

from collections.abc import Collection, Mapping
from typing import Any

from trialtree.sweep import stopping
from trialtree.sweep.engine.trial import BY_DVC, Tree, Work
from trialtree.sweep.records import Decision, Sweep, Trial
from trialtree.sweep.section import SweepParams
from trialtree.sweep.stopping import watching
from trialtree.sweep.stopping.tail import Tail


class Watched:
    """The policy, and what it has been told."""

    def __init__(self, policy: stopping.Policy, watch: watching.Watch, sweep: Sweep) -> None:
        self._policy, self._source = policy, watch.source
        self.notes = watch.notes
        # Of trials whose driver was killed before they had ended: what is in the journal is so.
        self._decided = {trial.number: trial.decision for trial in sweep.of("waiting") if trial.decision}
        for number in sweep.order:
            for t, value in sweep.trials[number].curve:
                policy.report(number, t, value)

    @property
    def file(self) -> str:
        """The file that is watched."""
        return self._source.file.as_posix()

    def begin(self, trial: Trial) -> None:
        """Forget what an earlier attempt of a trial has reported."""
        self._policy.forget(trial.number)

    def tail(self, tree: Tree, work: Work) -> Tail | None:
        """Return what reads the reports of some work that is about to begin; None where it writes none."""
        return Tail(tree.path, self._source) if work.stage in (self._source.stage, BY_DVC) else None

    def read(self, tail: Tail, trial: Trial, among: Collection[int] | None) -> Decision | None:
        """Take in what a trial reports anew, and return the decision to stop it, or None."""
        for t, value in tail.read():
            trial.curve.append((t, value))
            self._policy.report(trial.number, t, value)
            if known := self._decided.get(trial.number):
                decision = known if t >= known.step else None
            else:
                decision = self._policy.decide(trial.number, among)
            if decision is not None:
                return decision
        return None

    def take(self, trial: Trial, content: bytes) -> None:
        """Take in all reports of a trial whose fit was kept from before: others are compared with it all the same."""
        for t, value in Tail.reports(content, self._source):
            trial.curve.append((t, value))
            self._policy.report(trial.number, t, value)


def make(section: SweepParams, content: Mapping[str, Any], sweep: Sweep) -> Watched | None:
    """Return what watches the trials of a sweep; None without early termination."""
    watch = watching.watch(section, content)
    if watch is None:
        return None
    policy = stopping.make(section.early_termination, watch.goal, watch.length)
    return None if policy is None else Watched(policy, watch, sweep)
