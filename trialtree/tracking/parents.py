"""Parent runs: the trials of a branch, the DVC experiments of a baseline and those of a sweep, below one run each.

A trial alone needs no parent, and gets none, a sweep's apart.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trialtree.tracking import claims, runs, storage, sweeps
from trialtree.tracking.index import GROUP, KIND, PARENT, STATE, Known, state
from trialtree.tracking.stores import Store
from trialtree.tracking.survey import Place
from trialtree.tracking.trials import REPOSITORY, SWEEP

if TYPE_CHECKING:
    from mlflow import MlflowClient

SWEPT = "sweep"  # the kind of a sweep's run, which has a run however many trials it has
_FEWEST = 2  # trials that make a group of another kind


@dataclass(frozen=True)
class Group:
    """Trials that belong together."""

    kind: str  # branch, experiments, sweep
    id: str
    name: str
    trials: tuple[Place, ...]
    repository: str | None  # the address of Git's remote


def groups(places: Iterable[Place], repository: str | None) -> list[Group]:
    """Return the groups of a repository's trials."""
    found: dict[tuple[str, str], list[Place]] = {}
    for place in places:
        if place.sweep:
            found.setdefault((SWEPT, place.sweep), []).append(place)
        elif place.experiment and place.baseline:
            found.setdefault(("experiments", place.baseline), []).append(place)
        elif place.branch:
            found.setdefault(("branch", place.branch), []).append(place)
    return [
        Group(kind, name_of(kind, name, repository), _name(kind, name, trials[0]), tuple(trials), repository)
        for (kind, name), trials in found.items()
        if len(trials) >= _FEWEST or kind == SWEPT
    ]


def name_of(kind: str, name: str, repository: str | None) -> str:
    """Return the id of a group: several repositories may share a server."""
    return f"{kind} {name}{f' of {repository}' if repository else ''}".replace("'", "%27")


def _name(kind: str, name: str, first: Place) -> str:
    """Return the name of a group's run."""
    if kind != "experiments":
        return name
    return f"experiments on {first.branch}@{name[:7]}" if first.branch else f"experiments on {name[:7]}"


def lacking(
    wanted: Sequence[Group], runs: Mapping[Place, Known], known: Iterable[Known], settings: storage.Settings
) -> bool:  # fmt: skip
    """Say whether a trial is not below the run of its group, of the trials that have a run, or a sweep's is behind."""
    there = {(run.tags[GROUP], run.experiment_id): run for run in known if GROUP in run.tags}
    for group in wanted:
        parents = {}
        for place in group.trials:
            if place not in runs:
                continue
            parent = parents[runs[place].experiment_id] = there.get((group.id, runs[place].experiment_id))
            if runs[place].tags.get(PARENT) != (parent.id if parent else ""):
                return True
        if group.kind == SWEPT and any(p and p.tags.get(STATE) != state_of(group, settings) for p in parents.values()):
            return True
    return False


def state_of(group: Group, settings: storage.Settings) -> str:
    """Return a digest of what Git says of a sweep."""
    return sweeps.state(state(place, settings) for place in group.trials if not place.cut)


def gone(wanted: Sequence[Group], known: Iterable[Known]) -> set[str]:
    """Return the runs of groups that there are no more; a sweep's stays, for its trials that failed are not in Git."""
    names = {group.id for group in wanted}
    return {
        run.id for run in known
        if GROUP in run.tags and run.tags[GROUP] not in names and run.tags.get(KIND) != SWEPT
    }  # fmt: skip


def tidy(client: "MlflowClient", wanted: Sequence[Group], known: Sequence[Known]) -> None:
    """Take the runs of groups that there are no more out of a store that only this repository uses."""
    parents = gone(wanted, known)
    for run in known:
        if run.tags.get(PARENT) in parents:
            client.delete_tag(run.id, PARENT)
    for parent in sorted(parents):
        client.delete_run(parent)


class Above:
    """The runs that those of trials go below, each made when a trial first needs it."""

    def __init__(self, client: "MlflowClient", store: Store, wanted: Sequence[Group]) -> None:
        self._client, self._store = client, store
        self._groups = {place: group for group in wanted for place in group.trials}
        self._runs: dict[tuple[str, str], str] = {}

    def run(self, place: Place, experiment: str) -> dict[str, str]:
        """Return the tag that puts the run of a trial below that of its group, if it has one."""
        group = self._groups.get(place)
        if group is None:
            return {}
        if (group.id, experiment) not in self._runs:
            of = runs.experiment_id(self._client, experiment, self._store.artifacts)
            with claims.alone(self._client, group.id, embedded=self._store.embedded):
                run = found(self._client, group.id, of) or _made(self._client, group, of)
            self._runs[group.id, experiment] = run
        return {PARENT: self._runs[group.id, experiment]}


def nest(
    client: "MlflowClient", store: Store, wanted: Sequence[Group], known: Mapping[Place, Known],
    describe: Callable[[Group, str], None],
) -> None:  # fmt: skip
    """Make the runs of groups, put the runs of their trials below them, and have those of sweeps described."""
    for group in wanted:
        below: dict[str, list[Place]] = {}
        for place in group.trials:
            if place in known:
                below.setdefault(known[place].experiment_id, []).append(place)
        for experiment_id, places in below.items():
            with claims.alone(client, group.id, embedded=store.embedded):
                parent = _put_below(client, group, experiment_id, [known[place] for place in places])
                if group.kind == SWEPT:
                    describe(group, parent)


def _put_below(client: "MlflowClient", group: Group, experiment_id: str, below: Sequence[Known]) -> str:
    """Put runs below that of their group, and return it: the one that stays, where another machine has made one too."""
    parent = found(client, group.id, experiment_id) or _made(client, group, experiment_id)
    for run in below:
        if run.tags.get(PARENT) != parent:
            client.set_tag(run.id, PARENT, parent)
    left = found(client, group.id, experiment_id) or parent
    for run in below if left != parent else ():
        client.set_tag(run.id, PARENT, left)
    return left


def found(client: "MlflowClient", group: str, experiment_id: str) -> str | None:
    """Return the run of a group, if there is one; others of it, which only a race makes, are deleted."""
    order = ["attributes.start_time ASC", "attributes.run_id ASC"]
    runs = client.search_runs([experiment_id], f"tags.`{GROUP}` = '{group}'", order_by=order)
    for other in runs[1:]:
        client.delete_run(other.info.run_id)
    return str(runs[0].info.run_id) if runs else None


def _made(client: "MlflowClient", group: Group, experiment_id: str) -> str:
    """Return a new run for a group."""
    times = [1000 * place.seconds for place in group.trials]
    made = make(client, group, experiment_id, min(times))
    client.set_terminated(made, end_time=max(times))
    return made


def make(client: "MlflowClient", group: Group, experiment_id: str, start: int) -> str:
    """Return a new run for a group, which has not ended."""
    tags = {GROUP: group.id, KIND: group.kind, **({REPOSITORY: group.repository} if group.repository else {})}
    if group.kind == SWEPT:
        tags[SWEEP] = group.name
    return str(client.create_run(experiment_id, start_time=start, tags=tags, run_name=group.name).info.run_id)
