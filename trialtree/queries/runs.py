"""The runs of MLflow: those of an experiment, chosen, sorted.

trialtree runs [--sort METRIC] [--where EXPRESSION] [--limit N] [--experiment NAME | --all] [--kind KIND]
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import isfinite, isnan
from typing import TYPE_CHECKING, Any, Literal

from stages.errors import UserError
from trialtree.queries import naming, where
from trialtree.queries.expressions import Facts
from trialtree.queries.naming import NameFault
from trialtree.tracking import stores

if TYPE_CHECKING:
    from mlflow import MlflowClient

Kind = Literal["trial", "stage", "branch", "experiments", "sweep"]
KINDS: tuple[Kind, ...] = ("trial", "stage", "branch", "experiments", "sweep")
KIND = "trialtree.kind"  # tag: what a run is; a trial without it

_PAGE = 1000  # runs that MLflow gives at once
_AFTER = "mend that, and ask again"
# Metrics of which less is better, wherever they are computed: errors and losses.
_ERRORS = re.compile(r"(^|[._ /-])(log_loss|loss|logloss|error|rmse|mse|mae|mape|ae(_p\d+)?|ae-at-.*)($|[._ /-])", re.I)


class RunsError(UserError):
    """A question that cannot be answered as it stands."""


@dataclass(frozen=True)
class Run:
    """One run of MLflow."""

    id: str
    name: str
    experiment: str
    status: str
    started: int  # milliseconds since 1970
    params: Mapping[str, str] = field(repr=False)
    metrics: Mapping[str, float] = field(repr=False)
    tags: Mapping[str, str] = field(repr=False)

    @property
    def kind(self) -> str:
        """What it is of."""
        return self.tags.get(KIND, "trial")

    @property
    def when(self) -> datetime:
        """When it started, UTC."""
        return datetime.fromtimestamp(self.started / 1000, UTC)

    def facts(self) -> Facts:
        """Return what can be asked of it."""
        found: dict[tuple[str, str], str | float] = {("status", ""): self.status, ("name", ""): self.name}
        for kind, values in (("params", self.params), ("metrics", self.metrics), ("tags", self.tags)):
            found |= {(kind, name): value for name, value in values.items()}
        return found

    def as_json(self) -> dict[str, Any]:
        """Return what `--json` prints; a number that JSON has no word for is a text."""
        return {
            "id": self.id,
            "name": self.name,
            "kind": self.kind,
            "experiment": self.experiment,
            "status": self.status,
            "started": self.when.isoformat(timespec="milliseconds"),
            "params": dict(self.params),
            "metrics": {name: value if isfinite(value) else str(value) for name, value in self.metrics.items()},
            "tags": dict(self.tags),
        }


def read(experiment: str | None, kinds: Sequence[str] = ("trial",), *, must: bool = True) -> list[Run]:
    """Return the runs of an experiment, or of all, newest first.

    Raises:
        StoreError: MLflow cannot be reached.
        RunsError: there is no such experiment, and there `must` be.
    """
    store = stores.find()
    with store.opened(after=_AFTER) as client:
        every = {str(e.experiment_id): str(e.name) for e in _pages(client.search_experiments)}
        wanted = {number: name for number, name in every.items() if experiment in (None, name)}
        if not wanted and must:
            named = ", ".join(sorted(every.values()))
            raise RunsError(f"there is no experiment {experiment!r} in MLflow at {store.shown}; there are: {named}")
        found = _runs(client, wanted) if wanted else []
    found.sort(key=lambda run: (run.started, run.id), reverse=True)
    return [run for run in found if run.kind in kinds]


def _runs(client: "MlflowClient", experiments: Mapping[str, str]) -> list[Run]:
    """Return the runs of experiments, given by number with their names."""
    return [
        Run(
            id=run.info.run_id,
            name=run.info.run_name or "",
            experiment=experiments[str(run.info.experiment_id)],
            status=run.info.status,
            started=run.info.start_time or 0,
            params=run.data.params,
            metrics=run.data.metrics,
            tags=run.data.tags,
        )
        for run in _pages(client.search_runs, list(experiments))
    ]


def _pages(search: Any, *args: Any) -> Iterable[Any]:
    """Yield all that a search finds, page after page."""
    token = None
    while True:
        page = search(*args, max_results=_PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def chosen(runs: Sequence[Run], expression: str | None) -> list[Run]:
    """Return the runs of which an expression holds.

    Raises:
        WhereError: it is none, or names what no run has.
    """
    if expression is None:
        return list(runs)
    asked = where.parse(expression)
    if not runs:
        return []
    asked = naming.resolved(asked, lambda kind: {name for run in runs for name in getattr(run, kind)})
    return [run for run in runs if asked.holds(run.facts())]


def ordered(runs: Sequence[Run], by: str | None, *, reverse: bool = False) -> tuple[list[Run], str | None]:
    """Return the runs by a metric, the best first, and the metric's whole name; those without it come last.

    `-metric` is from the greatest down, `+metric` from the least up, whatever is better.

    Raises:
        RunsError: no run has the metric, or several are meant.
    """
    if by is None or not runs:
        return list(runs)[:: -1 if reverse else 1], None
    sign, name = (by[0], by[1:]) if by[0] in "+-" else ("", by)
    try:
        metric = naming.full("metrics", name.removeprefix("metrics."), (n for run in runs for n in run.metrics))
    except NameFault as fault:
        raise RunsError(f"--sort: {fault}") from None
    falling = (sign == "-" if sign else not _ERRORS.search(metric)) != reverse
    having = [run for run in runs if not isnan(run.metrics.get(metric, float("nan")))]
    having.sort(key=lambda run: run.metrics[metric], reverse=falling)
    told = {run.id for run in having}
    return [*having, *(run for run in runs if run.id not in told)], metric
