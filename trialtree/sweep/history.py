"""The sweeps that were run here, and what came of one.

trialtree sweeps [--json]
trialtree sweep show [SWEEP] [--out FOLDER] [--json]
"""

import json
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trialtree.sweep import journal
from trialtree.sweep.records import ENDED, Sweep, Trial
from trialtree.sweep.screen import ending, events, standing, words

if TYPE_CHECKING:
    from rich.table import Table

    from trialtree.sweep.importance import Importance

_ROWS = 30  # trials that are told one by one


def sweeps(*, as_json: bool = False) -> None:
    """Print a line for each sweep, the newest first."""
    found = [(folder, journal.read(folder)) for folder in reversed(journal.folders())]
    if as_json:
        print(json.dumps(events.finite([_as_json(*each) for each in found]), indent=2, ensure_ascii=False))
    elif found:
        _print(_overview(found))
    else:
        raise journal.SweepError("no sweep has run here; `trialtree sweep` runs that of params.yaml")


def state(folder: Path, sweep: Sweep) -> str:
    """Return whether a sweep runs, is over, or can go on."""
    if journal.running(folder):
        return "running"
    return "finished" if sweep.finished is not None else "interrupted"


def _sampler(sweep: Sweep) -> str:
    given = sweep.head.section.get("sampling", "random")
    return str(given.get("sampler", "random") if isinstance(given, dict) else given)


def _wanted(sweep: Sweep) -> int | None:
    """Return how many trials a sweep was to have; None where nobody said."""
    wanted = (sweep.head.section.get("limits") or {}).get("trials")
    return int(wanted) if wanted is not None else None


def _overview(found: Sequence[tuple[Path, Sweep]]) -> "Table":
    """Return a row for each sweep."""
    from rich.table import Table

    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for name in ("sweep", "when", "sampler", "trials"):
        table.add_column(name, no_wrap=name in ("sweep", "when"), overflow="fold")
    table.add_column("objective", overflow="fold")
    table.add_column("best", justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for folder, sweep in found:
        goals = standing.recorded(sweep.head.section)
        best = standing.best(sweep, goals)
        when = datetime.fromtimestamp(sweep.head.time / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
        counts = ", ".join(f"{len(sweep.of(each))} {each}" for each in ENDED if sweep.of(each) or each == "done")
        wanted = _wanted(sweep)
        table.add_row(
            sweep.head.id, when, _sampler(sweep), counts + (f" of {wanted}" if wanted is not None else ""),
            ", ".join(goal.metric for goal in goals.objectives), words.numbers(best.trial.objective if best else None),
            state(folder, sweep),
        )  # fmt: skip
    return table


def _as_json(folder: Path, sweep: Sweep) -> dict[str, Any]:
    """Return what a script wants to know of a sweep."""
    goals = standing.recorded(sweep.head.section)
    best = standing.best(sweep, goals)
    return {
        "sweep": sweep.head.id,
        "time": datetime.fromtimestamp(sweep.head.time / 1000, UTC).isoformat(timespec="milliseconds"),
        "experiment": sweep.head.experiment,
        "baseline": sweep.head.baseline,
        "sampler": _sampler(sweep),
        "seed": sweep.head.seed,
        "trials": _wanted(sweep),
        **{each: len(sweep.of(each)) for each in (*ENDED, "running", "waiting")},
        "repeats": sweep.repeats,
        "objective": [{"metric": goal.metric, "goal": goal.goal} for goal in goals.objectives],
        "best": best.trial.number if best else None,
        "value": best.trial.objective if best else None,
        "state": state(folder, sweep),
        "reason": sweep.finished or sweep.interrupted,
        "folder": str(folder),
    }


def show(name: str | None, *, out: Path | None = None, as_json: bool = False) -> None:
    """Print what came of a sweep, and draw its pictures into `out` or a folder of the sweep's.

    Raises:
        SweepError: there is no such sweep.
    """
    from trialtree.sweep import importance
    from trialtree.sweep.pictures import drawing

    folder = journal.find(name)
    sweep = journal.read(folder)
    goals = standing.recorded(sweep.head.section)
    summary = ending.final(sweep, goals)
    if not as_json:
        print("\n".join(summary[: summary.index("")]) + "\n")
        _print(_trials(sweep))
        if len(sweep.trials) > _ROWS:
            print(f"{len(sweep.trials) - _ROWS} more; `trialtree sweep show {sweep.head.id} --json` has them all")
        sys.stdout.flush()
    counted = importance.of(sweep, goals.objectives[0])
    if as_json:
        print(json.dumps(events.finite(_all(folder, sweep, counted)), indent=2, ensure_ascii=False))
    drawn: list[Path] = []
    if not as_json or out is not None:
        drawn = drawing.draw(sweep, out or folder / drawing.FOLDER, summary, counted.shares)
    if not as_json:
        print("\n".join(["", *_counted(counted), *map(str, drawn)]))


def _counted(counted: "Importance") -> Iterator[str]:
    """Yield how much each param counts, as it is drawn."""
    names = words.short(key for key, _ in counted.shares)
    said = ", ".join(f"{names[key]} {100 * share:.0f} %" for key, share in counted.shares)
    if said:
        yield f"importance for good trials (PED-ANOVA): {said}" + (f"; {counted.note}" if counted.note else "")
    elif counted.note:
        yield counted.note


def _all(folder: Path, sweep: Sweep, counted: "Importance") -> dict[str, Any]:
    """Return a sweep with all of its trials, the best first."""
    trials = [{"rank": rank, **events.as_json(trial), "curve": trial.curve} for rank, trial in _ranked(sweep)]
    return {**_as_json(folder, sweep), "section": sweep.head.section, "importance": dict(counted.shares), "all": trials}


def _ranked(sweep: Sweep) -> Iterator[tuple[int | None, Trial]]:
    """Yield the trials that are done with their rank, and then the others."""
    yield from enumerate(standing.ranked(sweep, standing.recorded(sweep.head.section)), start=1)
    for other in ("pruned", "failed", "running", "waiting"):
        for trial in sweep.trials.values():
            if trial.state == other:
                yield None, trial


def _trials(sweep: Sweep) -> "Table":
    """Return a row for each trial, the best first."""
    from rich.table import Table

    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    goals = standing.recorded(sweep.head.section).objectives
    for name in ("rank", "trial"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for goal in goals:
        table.add_column(goal.metric, justify="right", overflow="fold")
    table.add_column("seconds", justify="right", no_wrap=True)
    table.add_column("params", overflow="fold")
    for rank, trial in [*_ranked(sweep)][:_ROWS]:
        values = trial.objective or [None] * len(goals)
        said = words.params(trial.values) + (f"  {words.ended(trial)}" if trial.state in ("pruned", "failed") else "")
        table.add_row(
            "" if rank is None else str(rank), str(trial.number), trial.state, *map(words.number, values),
            "-" if trial.seconds is None else f"{trial.seconds:.2f}", said,
        )  # fmt: skip
    return table


def _print(table: "Table") -> None:
    """Print a table: folded to the terminal's width, in whole lines where there is none."""
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, width=10_000, no_color=True)
    console.print(table)
