"""Show trials as a table: folded to the terminal's width, and a plain line for each where there is no terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from trialtree.branches import locks
from trialtree.branches.listing import Trial

_MOST = 3  # columns of metrics


def show(trials: Sequence[Trial]) -> None:
    """Print the trials."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=10_000, no_color=True)
    console.print(table(trials, plain=not console.is_terminal))


def table(trials: Sequence[Trial], *, plain: bool = False) -> Table:
    """Return a row for each trial."""
    made = Table(box=None, header_style="bold", padding=(0, 2 if plain else 1, 0, 0))
    names = list(dict.fromkeys(name for trial in trials for name in trial.main))[:_MOST]
    shorter = short([key for trial in trials for key in trial.params])
    made.add_column("trial", overflow="fold", min_width=8)
    made.add_column("commit", no_wrap=True)
    made.add_column("data", no_wrap=True)
    made.add_column("remote", overflow="fold")
    for name in names:
        made.add_column(name, justify="right", overflow="fold")
    made.add_column("params", overflow="fold")
    made.add_column("who", overflow="fold")
    made.add_column("when", no_wrap=True)
    for trial in trials:
        metrics = (locks.shown(trial.metrics[name]) if name in trial.metrics else "" for name in names)
        params = " ".join(f"{shorter[key]}={value}" for key, value in trial.params.items())
        called = ", ".join(trial.names) + ("" if trial.whole else " (not whole)")
        made.add_row(
            called, trial.commit[:7], trial.data[:7], trial.in_remote, *metrics, params, trial.who, trial.when[:10]
        )
    return made


def short(keys: Sequence[str]) -> dict[str, str]:
    """Return each key without its section and `hyperparameters`, or the whole where two are alike then."""
    distinct = list(dict.fromkeys(keys))
    ends = [key.partition(".")[2].removeprefix("hyperparameters.") for key in distinct]
    return {key: end if ends.count(end) == 1 else key for key, end in zip(distinct, ends, strict=True)}
