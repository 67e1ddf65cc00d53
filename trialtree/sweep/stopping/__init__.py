"""Early termination: policies that stop a trial which falls behind, by the reports of its curve.

    faults = stopping.check(section, content)            # before the first trial
    watch = stopping.watch(section, content)             # which file, label and goal; None without early termination
    policy = stopping.make(section.early_termination, watch.goal, watch.length)
    tail = stopping.Tail(folder, watch.source)           # when the stage watch.source.stage of a trial begins
    for t, value in tail.read():                         # now and then, and when the stage has ended
        policy.report(number, t, value)
        decision = policy.decide(number)                 # at that report: stop the trial, or None

A policy's state is a function of the reports and decisions that it was asked
for: those of a journal bring it back, each trial's in their order. With
`decide(number, among={...})` a trial is compared with these trials only (and
itself), so that a sweep whose order is fixed takes the same decisions whatever
the timing. After a decision the trial is stopped, and reports that still come
of it are not taken. `forget(number)` takes back the reports of a trial that is
tried again.
"""

from trialtree.sweep.stopping.deciding import Policy, make
from trialtree.sweep.stopping.rule import Goal, Rule
from trialtree.sweep.stopping.rules import EarlyTermination
from trialtree.sweep.stopping.tail import Source, Tail
from trialtree.sweep.stopping.watching import Watch, check, watch

__all__ = ["EarlyTermination", "Goal", "Policy", "Rule", "Source", "Tail", "Watch", "check", "make", "watch"]
