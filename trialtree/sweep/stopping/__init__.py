"""Early termination: policies that stop a trial which falls behind, by the reports of its curve.

    watch = watching.watch(content)                      # what to read, which goal, how long a curve is
    policy = stopping.make(rule, watch.goal, watch.length)
    policy.report(number, t, value)                      # each report of each trial, as it comes
    decision = policy.decide(number)                     # of the newest report of a trial: stop it, or None

`rule` is the section `sweep.early_termination`, an `EarlyTermination`. A
policy's state is a function of the calls it got: those of a journal, in its
order, bring it back. With `decide(number, among={...})` a trial is compared
with these trials only (and itself), so that a sweep whose order is fixed takes
the same decisions whatever the timing. After a decision the trial is stopped:
reports that still come of it are not taken. `forget(number)` takes back the
reports of a trial that is tried again.
"""

from trialtree.sweep.stopping.deciding import Policy, make
from trialtree.sweep.stopping.rule import Goal, Rule
from trialtree.sweep.stopping.rules import EarlyTermination

__all__ = ["EarlyTermination", "Goal", "Policy", "Rule", "make"]
