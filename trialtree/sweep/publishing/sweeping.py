"""A sweep on its way into MLflow: which of its trials are there, and which come next."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from trialtree.sweep import journal
from trialtree.sweep.publishing import unsaved
from trialtree.sweep.publishing.parent import Parent, status_of
from trialtree.sweep.records import ENDED, Sweep, Trial
from trialtree.tracking import files, index, storage, stores, trials
from trialtree.tracking.committed import Memo
from trialtree.tracking.fresh import Baseline
from trialtree.tracking.git import Objects
from trialtree.tracking.index import PARENT, STATE, Known
from trialtree.tracking.locks import TrialError
from trialtree.tracking.publisher import Publisher
from trialtree.tracking.survey import Place
from trialtree.tracking.trials import COMMITS, KEY, NUMBER

if TYPE_CHECKING:
    from mlflow import MlflowClient

_LOT = 50  # trials between two openings of the store, for which others may be waiting
_AFTER = "the trials are kept, and `trialtree track --all` publishes them"


class Sweeping:
    """The sweep of a folder, read from its journal and published in lots."""

    def __init__(self, folder: Path, objects: Objects) -> None:
        self._folder, self._reader, self._objects = folder, journal.Reader(folder), objects
        self._sweep: Sweep = self._reader.read()
        self._store, self._settings = stores.find(), storage.read()
        self._baseline = Baseline(self._sweep.head.baseline, trials.main(files.Here()))
        self._memo: Memo = {}
        self._there: dict[int, str] = {}  # what tells each trial that is in MLflow from another end of it, by number
        self._states: dict[int, str] = {}  # of the trials that Git holds
        self._alone: dict[int, str] = {}  # the run of each that no commit holds
        self._left: dict[int, str] = {}  # what tells each that cannot be published
        self._parent: Parent | None = None
        self._publisher: Publisher | None = None
        self._notes: list[str] = []

    def load(self) -> None:
        """Import what speaks to the store."""
        self._store.load()

    @property
    def driven(self) -> bool:
        """Whether the driver is alive."""
        return journal.running(self._folder)

    @property
    def published(self) -> int:
        """The number of trials that are in MLflow."""
        return len(self._there)

    @property
    def ended(self) -> int:
        """The number of trials that have ended."""
        return len(self._sweep.of(*ENDED))

    @property
    def where(self) -> str:
        """The store's address."""
        return self._store.shown

    def notes(self) -> list[str]:
        """Return what a person should know, and was not told yet."""
        notes, self._notes = self._notes, []
        return notes

    def publish(self) -> Iterator[int]:
        """Publish what has ended, and yield the number of trials that are published, after each lot.

        Raises:
            StoreError: the store fails.
        """
        self._sweep = self._reader.read()
        if self._parent is None:
            self._begin()
        waiting = iter([
            trial for trial in self._sweep.of(*ENDED)
            if _end(trial) not in (self._there.get(trial.number), self._left.get(trial.number))
        ])  # fmt: skip
        while lot := [*islice(waiting, _LOT)]:
            self._publish(lot)
            yield self.published

    def finish(self) -> Iterator[int]:
        """Publish what is left, and say how the sweep ended; see `publish`."""
        yield from self.publish()
        with self._store.opened(_AFTER) as client:
            self._look(client)  # another process may have published the rest of this sweep, before it was resumed
        yield from self.publish()
        with self._store.opened(_AFTER):
            over = self._sweep.finished or self._sweep.interrupted or not self.driven
            if self._parent is not None and over:
                self._parent.tell(self._states.values())
                self._parent.set(status_of(self._sweep))

    def _begin(self) -> None:
        """Make the run of the sweep, and see what is there already."""
        with self._store.opened(_AFTER) as client:
            parent = Parent(client, self._store, self._sweep, self._settings)
            parent.mend(self._folder)
            parent.set("RUNNING")
            self._publisher = Publisher(
                client, self._store, self._objects, settings=self._settings, above=lambda *_: {PARENT: parent.id}
            )
            self._look(client)
            parent.tell()
            self._parent = parent

    def _look(self, client: "MlflowClient") -> None:
        """See which trials of the sweep the store has; of two runs of one, which only a race makes, one goes."""
        self._there, self._states, self._alone = {}, {}, {}
        known = sorted(index.of_sweep(client, self._store, self._sweep.head.id), key=lambda run: KEY not in run.tags)
        for run in known:
            number = run.tags.get(NUMBER, "")
            trial = self._sweep.trials.get(int(number)) if number.isdecimal() else None
            if trial is None:
                continue
            if run.key is not None:
                if _is_whole(run, trial):
                    self._take(trial, run)
            elif trial.number in self._there or trial.number in self._alone:
                client.delete_run(run.id)
            else:
                self._alone[trial.number] = run.id
                if run.tags.get(STATE) == _end(trial):
                    self._there[trial.number] = _end(trial)

    def _take(self, trial: Trial, run: Known) -> None:
        """Remember that a trial that Git holds is in MLflow."""
        self._there[trial.number] = _end(trial)
        if STATE in run.tags:
            self._states[trial.number] = run.tags[STATE]

    def _publish(self, lot: Sequence[Trial]) -> None:
        """Publish some trials."""
        assert self._parent is not None  # noqa: S101  # it is made first
        found = ((trial, self._read(trial)) for trial in lot if _is_saved(trial))
        read = {place: (trial, of) for trial, (place, of) in found if place is not None and of is not None}
        with self._store.opened(_AFTER) as client:
            for trial in lot:
                if before := self._alone.pop(trial.number, None):
                    client.delete_run(before)
            self._write(read)
            self._write_alone(client, [trial for trial in lot if not _is_saved(trial)])
            self._parent.tell()

    def _read(self, trial: Trial) -> tuple[Place, trials.Trial] | tuple[None, None]:
        """Return the place of a trial in Git, and what Git and DVC have of it; nothing where they have it no more."""
        try:
            place = self._baseline.place(self._objects, str(trial.commit), str(trial.name))
            return place, trials.of_commit(self._objects, place, self._settings, self._memo)
        except TrialError as error:
            self._leave(trial, str(error))
            return None, None

    def _leave(self, trial: Trial, reason: str) -> None:
        """Note that a trial cannot be published, and try no more."""
        self._notes.append(f"not in MLflow: trial {trial.number}: {reason}")
        self._left[trial.number] = _end(trial)

    def _write(self, read: dict[Place, tuple[Trial, trials.Trial]]) -> None:
        """Publish trials that Git holds."""
        assert self._publisher is not None  # noqa: S101  # it is made first
        for place, run in self._publisher.write({place: of for place, (_, of) in read.items()}):
            if isinstance(run, str):
                self._leave(read[place][0], run)
            else:
                self._take(read[place][0], self._publisher.done.pop(place))

    def _write_alone(self, client: "MlflowClient", lot: Sequence[Trial]) -> None:
        """Publish trials that no commit holds."""
        assert self._parent is not None  # noqa: S101  # it is made first
        above = {PARENT: self._parent.id}
        made = unsaved.write(client, self._parent.experiment_id, self._sweep.head, lot, above)
        for trial, run_id in zip(lot, made, strict=True):
            self._there[trial.number], self._alone[trial.number] = _end(trial), run_id


def _is_saved(trial: Trial) -> bool:
    """Say whether a commit holds the whole trial."""
    return trial.state == "done" and bool(trial.commit and trial.name)


def _end(trial: Trial) -> str:
    """Return what tells the end of a trial from another end of it: a failed one may be tried again."""
    return str(trial.commit) if _is_saved(trial) else unsaved.end(trial)


def _is_whole(run: Known, trial: Trial) -> bool:
    """Say whether a run has all of a trial that Git holds."""
    return run.whole and STATE in run.tags and trial.commit in run.tags.get(COMMITS, "").split()
