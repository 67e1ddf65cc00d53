"""Early termination of a sweep that runs: which file is watched, and what the policy says of each report."""

from collections.abc import Collection, Mapping
from typing import Any

from trialtree.sweep import stopping
from trialtree.sweep.records import Decision, Sweep
from trialtree.sweep.section import SweepParams
from trialtree.sweep.stopping import watching


class Watched:
    """The policy, and what it has been told."""

    def __init__(self, policy: stopping.Policy, watch: watching.Watch, sweep: Sweep) -> None:
        self.policy, self.source = policy, watch.source
        self.notes = watch.notes
        for number in sweep.order:
            for t, value in sweep.trials[number].curve:
                policy.report(number, t, value)

    @property
    def stage(self) -> str:
        """The stage that writes what is watched."""
        return self.source.stage

    def decide(self, number: int, t: int, value: float, among: Collection[int] | None) -> Decision | None:
        """Take a report of a trial, and return the decision to stop it, or None."""
        self.policy.report(number, t, value)
        return self.policy.decide(number, among)


def make(section: SweepParams, content: Mapping[str, Any], sweep: Sweep) -> Watched | None:
    """Return what watches the trials of a sweep; None without early termination."""
    watch = watching.watch(section, content)
    if watch is None:
        return None
    policy = stopping.make(section.early_termination, watch.goal, watch.length)
    return None if policy is None else Watched(policy, watch, sweep)
