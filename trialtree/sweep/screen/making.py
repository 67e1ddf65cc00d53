"""The screen for what a sweep is shown on."""

from trialtree.sweep.records import Sweep
from trialtree.sweep.screen import words
from trialtree.sweep.screen.base import Kind, Screen, chosen
from trialtree.sweep.screen.tally import Tally
from trialtree.sweep.section import SweepParams


def make(kind: Kind, sweep: Sweep, section: SweepParams, total: int | None, concurrent: int) -> Screen:
    """Return the screen of a sweep that begins or goes on; `auto` is the table on a terminal, lines elsewhere.

    Args:
        kind: how it is shown.
        sweep: as far as it has come.
        section: of params.yaml.
        total: trials that there will be; None where nobody knows.
        concurrent: trials at once.
    """
    tally = Tally(section, total, section.limits.timeout)
    kind = chosen(kind)
    if kind == "json":
        from trialtree.sweep.screen.events import Events

        return Events(sweep, tally)
    if kind == "table":
        from trialtree.sweep.screen.table import Table

        return Table(sweep, tally)
    from trialtree.sweep.screen.lines import Lines

    trials = "trials" if total is None else words.count(total, "trial")
    wanted = ", ".join(f"{goal.metric} ({goal.goal})" for goal in section.objectives)
    title = f"sweep {sweep.head.id}: {section.sampler.sampler}, {trials}, {concurrent} at once, {wanted}"
    return Lines(sweep, tally, title)
