"""The run of a sweep: made before its first trial's, brought up to date with each lot, ended with the sweep."""

import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from trialtree.sweep import journal
from trialtree.sweep.records import Sweep
from trialtree.tracking import claims, parents, runs, storage, sweeps
from trialtree.tracking.index import KIND
from trialtree.tracking.parents import SWEPT, Group
from trialtree.tracking.stores import Store
from trialtree.tracking.trials import SWEEP

if TYPE_CHECKING:
    from mlflow import MlflowClient

_RUNNING = "RUNNING"
_SPARING = 20  # times as long as it takes to say something, nothing more is said
_COUNTED = "sweep.trials"  # tag: how many trials ended in which way


class Parent:
    """The run of a sweep."""

    def __init__(self, client: "MlflowClient", store: Store, sweep: Sweep, settings: storage.Settings) -> None:
        self._client, self._sweep = client, sweep
        head = sweep.head
        name = parents.name_of(SWEPT, head.id, settings.origin)
        group = Group(SWEPT, name, head.id, (), settings.origin)
        self.experiment_id = runs.experiment_id(client, head.experiment, store.artifacts)
        with claims.alone(client, name, embedded=store.embedded):
            found = parents.found(client, name, self.experiment_id)
            self.id = found or parents.make(client, group, self.experiment_id, head.time)
        self._status: str | None = None
        self._told: sweeps.Said | None = None
        self._next = 0.0  # when it may say more, by the clock

    def tell(self, states: Iterable[str] | None = None) -> None:
        """Let it say how far the sweep is, if it has not just done so; `states` are those that its trials have at last.

        Of ten thousand trials it takes a while to find the best.
        """
        began = time.monotonic()
        if states is not None or began >= self._next:
            self._tell(states)
            self._next = began + _SPARING * (time.monotonic() - began)

    def _tell(self, states: Iterable[str] | None) -> None:
        sweep = self._sweep
        done = sweep.of("done")
        told = sweeps.said(sweep.head.id, sweep.head.params.get("sweep", sweep.head.section), done)
        counts = ((state, len(sweep.of(state))) for state in ("done", "failed", "pruned"))
        told.tags[_COUNTED] = ", ".join(f"{count:,} {state}" for state, count in counts if count) or "none yet"
        if told != self._told or states is not None:
            there = None if states is None else sweeps.state(states)
            sweeps.write(self._client, self._client.get_run(self.id), told, there)
            self._told = told

    def set(self, status: str) -> None:
        """Let it say whether the sweep runs, or how it ended."""
        if status == self._status:
            return
        if status == _RUNNING:
            self._client.update_run(self.id, status)
        else:
            self._client.set_terminated(self.id, status)
        self._status = status

    def mend(self, folder: Path) -> None:
        """End the runs of sweeps of this machine that stopped without saying so; `folder` has this sweep's journal."""
        asked = f"attributes.status = '{_RUNNING}' and tags.`{KIND}` = '{SWEPT}'"
        for run in self._client.search_runs([self.experiment_id], asked):
            other = folder.parent / run.data.tags.get(SWEEP, "")
            if run.info.run_id != self.id and (other / journal.FILE).is_file() and not journal.running(other):
                with suppress(journal.SweepError):
                    self._client.set_terminated(run.info.run_id, status_of(journal.read(other)))


def status_of(sweep: Sweep) -> str:
    """Return the status of a sweep that no driver runs."""
    if not sweep.finished:
        return "KILLED"
    return "FAILED" if sweep.of("failed") and not sweep.of("done") else "FINISHED"
