"""Show runs as a table: folded to the terminal's width, and a plain line for each where there is no terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from trialtree.branches import locks
from trialtree.branches.showing import short
from trialtree.queries.runs import Run

_MOST = 3  # columns of metrics


def console() -> tuple[Console, bool]:
    """Return where a table goes, and whether that has no edge."""
    found = Console(highlight=False, markup=False)
    if found.is_terminal:
        return found, False
    return Console(highlight=False, markup=False, width=10_000, no_color=True), True


def show(runs: Sequence[Run], params: Mapping[str, Any], sorted_by: str | None, total: int) -> None:
    """Print the runs; `params` is params.yaml, for its gates, `total` how many there were before the limit."""
    out, plain = console()
    out.print(table(runs, params, sorted_by, plain=plain))
    out.print(summary(runs, total), soft_wrap=True)


def table(runs: Sequence[Run], params: Mapping[str, Any], sorted_by: str | None, *, plain: bool = False) -> Table:
    """Return a row for each run; what is the same for all is left to `summary`."""
    made = Table(box=None, header_style="bold", padding=(0, 2 if plain else 1, 0, 0))
    names = metrics(runs, params, sorted_by)
    made.add_column("run", overflow="fold", min_width=8)
    made.add_column("id", no_wrap=True)
    for column in ("status", "experiment"):
        if _differs(runs, column):
            made.add_column(column, overflow="fold")
    for name in names:
        made.add_column(name.removeprefix("test."), justify="right", overflow="fold")
    made.add_column("params", overflow="fold")
    made.add_column("branch", overflow="fold")
    made.add_column("when", no_wrap=True)
    differing = _differing(runs)
    shorter = short(differing)
    for run in runs:
        same = [str(getattr(run, column)) for column in ("status", "experiment") if _differs(runs, column)]
        cells = [locks.shown(run.metrics[name]) if name in run.metrics else "" for name in names]
        texts = " ".join(f"{shorter[name]}={run.params[name]}" for name in differing if name in run.params)
        branch = run.tags.get("branch", "")
        when = run.when.strftime("%Y-%m-%d %H:%M:%S" if plain else "%m-%d %H:%M")
        made.add_row(run.name, run.id[:8], *same, *cells, texts, branch, when)
    return made


def metrics(runs: Sequence[Run], params: Mapping[str, Any], first: str | None) -> list[str]:
    """Return the metrics to show: the one sorted by, those of the gates, the usual ones."""
    found: dict[str, None] = dict.fromkeys([first] if first else [])
    for run in runs:
        test = {name.removeprefix("test."): v for name, v in run.metrics.items() if name.startswith("test.")}
        gates = (params.get("register") or {}).get("gates") or {}
        found |= dict.fromkeys(name for name in gates if name in run.metrics)  # script.NAME
        found |= dict.fromkeys(f"test.{name}" for name in locks.main_metrics({"test": test}, params))
        if not test:
            found |= dict.fromkeys(list(run.metrics)[:2])
    return list(found)[:_MOST]


def _differs(runs: Sequence[Run], column: str) -> bool:
    return len({getattr(run, column) for run in runs}) > 1


def _differing(runs: Sequence[Run]) -> list[str]:
    """Return the params in which the runs differ."""
    told = [run for run in runs if run.params]  # a fit that was stopped has none
    names = dict.fromkeys(name for run in told for name in run.params)
    return [name for name in names if len({run.params.get(name) for run in told}) > 1]


def summary(runs: Sequence[Run], total: int) -> str:
    """Return the line below: how many, and what is the same for all."""
    count = f"{len(runs)} of {total}" if len(runs) < total else str(total)
    said = f"{count} {'run' if total == 1 else 'runs'}"
    if not _differs(runs, "experiment"):
        said += f" of experiment {runs[0].experiment}"
    return said if _differs(runs, "status") else f"{said}, {runs[0].status.lower()}"
