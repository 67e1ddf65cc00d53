"""A sweep on its way into MLflow: which of its trials are there, and which come next."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from trialtree.sweep import journal
from trialtree.sweep.records import ENDED, Trial
from trialtree.tracking import files, git, storage, stores, trials
from trialtree.tracking.fresh import Baseline
from trialtree.tracking.locks import TrialError
from trialtree.tracking.publisher import Publisher

_LOT = 100  # trials between two openings of the store, for which others may be waiting
_AFTER = "the trial is kept"


class Sweeping:
    """The sweep of a folder, read from its journal and published in lots."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._reader = folder, journal.Reader(folder)
        self._store = stores.find()
        self._done: dict[int, int] = {}  # the attempt of each trial that is published, by number
        self._notes: list[str] = []
        self._baseline: Baseline | None = None

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
        return len(self._done)

    @property
    def ended(self) -> int:
        """The number of trials that have ended."""
        sweep = self._reader.sweep
        return len(sweep.of(*ENDED)) if sweep else 0

    @property
    def where(self) -> str:
        """The store's address."""
        return self._store.shown

    def notes(self) -> list[str]:
        """Return what a person should know, and was not told yet."""
        notes, self._notes = self._notes, []
        return notes

    def publish(self, *, last: bool = False) -> Iterator[int]:
        """Publish what has ended, and yield the number of trials that are published, after each lot.

        Raises:
            StoreError: the store fails.
        """
        sweep = self._reader.read()
        waiting = iter([trial for trial in sweep.of(*ENDED) if self._done.get(trial.number) != trial.attempt])
        while lot := [*islice(waiting, _LOT)]:
            self._publish(lot)
            yield self.published

    def _publish(self, lot: list[Trial]) -> None:
        sweep = self._reader.read()
        self._baseline = self._baseline or Baseline(sweep.head.baseline, trials.main(files.Here()))
        with git.objects() as objects, self._store.opened(_AFTER) as client:
            publisher = Publisher(client, self._store, objects, settings=storage.read())
            for trial in lot:
                if trial.commit and trial.name:
                    try:
                        publisher.publish(self._baseline.place(objects, trial.commit, trial.name))
                    except TrialError as error:
                        self._notes.append(f"not published: {error}")
                self._done[trial.number] = trial.attempt
