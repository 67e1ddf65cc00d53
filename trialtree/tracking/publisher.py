"""Publish trials of commits one after another, through one open store."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from stages import progress
from trialtree.tracking import committed, git, lots, parents, runs, storage, sweeps, trials, versions
from trialtree.tracking.index import STATE, Known, state
from trialtree.tracking.locks import TrialError
from trialtree.tracking.runs import Run
from trialtree.tracking.stores import Store
from trialtree.tracking.survey import Place
from trialtree.tracking.trials import KEY, Trial

if TYPE_CHECKING:
    from mlflow import MlflowClient

_LOT = 50  # trials at once


class Runs:
    """The runs of a store by the trials that they are of."""

    def __init__(self, known: Iterable[Known]) -> None:
        self._by_name: dict[tuple[str | None, str | None], Known] = {}
        self._by_commit: dict[str, list[Known]] = {}
        for run in known:
            if run.key:
                self._by_name[run.key, run.experiment] = run
                for commit in run.commits:
                    self._by_commit.setdefault(commit, []).append(run)

    def of(self, place: Place) -> Known | None:
        """Return the run of a trial."""
        named = self._by_name.get((place.key, place.experiment))
        return named or next((run for run in self._by_commit.get(place.commit, ()) if run.key == place.key), None)


@dataclass
class Publisher:
    """Publishes trials of commits, one after another or many at once."""

    client: "MlflowClient"
    store: Store
    objects: git.Objects
    known: Sequence[Known] | None = None  # the runs of the store; None asks it for each trial
    settings: storage.Settings = field(default_factory=storage.read)
    wanted: Sequence[parents.Group] = ()  # whose runs the trials go below
    above: Callable[[Place, str], Mapping[str, str]] | None = None  # the tag of that run, in the place of `wanted`
    done: dict[Place, Known] = field(default_factory=dict)
    _memo: committed.Memo = field(default_factory=dict)
    _listed: list[Any] | None = None

    def __post_init__(self) -> None:
        self._runs = Runs(self.known or ())
        self._above = self.above or parents.Above(self.client, self.store, self.wanted).run

    def publish(self, place: Place) -> tuple[Trial, Run]:
        """Publish the trial of a commit."""
        trial = trials.of_commit(self.objects, place, self.settings, self._memo)
        return trial, self._publish(place, trial, self._last(place, trial))

    def many(self, places: Iterable[Place]) -> Iterator[tuple[Place, Run | str]]:
        """Publish the trials of commits, and yield the run of each, or why there is none."""
        places = iter(places)
        while lot := [*islice(places, _LOT)]:
            read: dict[Place, Trial] = {}
            for place in lot:
                try:
                    read[place] = trials.of_commit(self.objects, place, self.settings, self._memo)
                except TrialError as error:
                    yield place, str(error)
            yield from self.write(read)

    def write(self, read: Mapping[Place, Trial]) -> Iterator[tuple[Place, Run | str]]:
        """Publish trials that have been read, and yield the run of each, or why MLflow refuses it."""
        last = {place: self._last(place, trial) for place, trial in read.items()}
        made = lots.publish([(trial, last[place]) for place, trial in read.items()], self.client, self.store)
        for number, (place, trial) in enumerate(read.items()):
            yield place, self._one(place, trial, last[place], made.get(number))

    def _last(self, place: Place, trial: Trial) -> dict[str, str]:
        """Return the tags that the run of a trial gets last: which run it is below, and what Git says of it."""
        return {
            **self._above(place, trial.experiment), **({} if place.cut else {STATE: state(place, self.settings)})
        }  # fmt: skip

    def _one(self, place: Place, trial: Trial, last: dict[str, str], run: Run | None) -> Run | str:
        """Return the run of a trial, which may have been made already, or why MLflow refuses it."""
        from mlflow import MlflowException

        try:
            run = self._publish(place, trial, last, run)
            for _ in self.versions(trial, place.commit):
                pass
        except MlflowException as error:
            if error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            return f"commit {place.commit[:7]}: MLflow refuses it: {' '.join(str(error).split())[:200]}"
        return run

    def _publish(self, place: Place, trial: Trial, last: dict[str, str], run: Run | None = None) -> Run:
        """Return the run of a trial, and remember it."""
        known = self._runs.of(place)
        # Another machine may be ahead of what a shared store said a moment ago.
        unknown = self.known is not None and known is None and self.store.embedded
        run = run or runs.publish(trial, self.client, self.store, unknown=unknown, tags=last)
        tags = {**(dict(known.tags) if known else {KEY: place.key}), **last}
        self.done[place] = Known(run.id, run.name, run.experiment_id, tags, whole=True)
        return run

    def all(self, places: Sequence[Place], total: int) -> Iterator[str]:
        """Publish trials, and yield what to print; one that cannot be read is said and left."""
        made = changed = 0
        said: list[str] = []
        lacking: dict[str, None] = {}
        with progress.step("publish", len(places), "trials") as report:
            for number, (_, run) in enumerate(self.many(places), start=1):
                if isinstance(run, str):
                    said.append(f"left out: {run}")
                else:
                    made, changed = made + run.made, changed + run.changed
                    lacking |= dict.fromkeys(run.missing)
                report(number)
        yield f"{count(total, 'trial')} in MLflow at {self.store.shown}: {made} new, {changed} brought up to date"
        yield from said
        yield from _gaps(lacking)

    def versions(self, trial: Trial, commit: str) -> Iterator[str]:
        """Add the commit to the model versions that hold the trial's model, and yield what to print."""
        if self._listed is None:
            self._listed = list(self.client.search_model_versions("", max_results=10_000))
        for version, new in versions.add_commit(self.client, self._listed, trial):
            yield f"commit {commit[:7]} is {'added' if new else 'known'} to {version.name} version {version.version}"

    def nest(self) -> None:
        """Put the runs of trials below those of their groups."""
        known = {place: run for group in self.wanted for place in group.trials if (run := self._runs.of(place))}
        parents.nest(self.client, self.store, self.wanted, known | self.done, self._describe)

    def _describe(self, group: parents.Group, run_id: str) -> None:
        """Let the run of a sweep say what Git says of it."""
        run, there = self.client.get_run(run_id), parents.state_of(group, self.settings)
        if run.data.tags.get(STATE) != there:
            sweeps.write(self.client, run, sweeps.of_git(self.objects, group.name, group.trials), there)


def count(number: int, what: str) -> str:
    """Return `1 trial`, `1,000 trials`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def gaps(known: Iterable[Known]) -> Iterator[str]:
    """Yield a line on the outputs that runs lack."""
    yield from _gaps(dict.fromkeys(path for run in known for path in run.missing))


def _gaps(paths: Iterable[str]) -> Iterator[str]:
    if named := sorted(paths):
        yield (
            f"not in DVC's cache here, so missing from some runs: {', '.join(named[:4])}; "
            "`dvc fetch --all-commits` brings what the remote has, and `trialtree track --all` adds it"
        )
