"""Failed and pruned trials of sweeps that ran on this machine, where MLflow lacks them: Git does not hold them."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from trialtree.sweep import journal
from trialtree.sweep.publishing import unsaved
from trialtree.sweep.publishing.sweeping import Sweeping
from trialtree.tracking import index, odb, stores
from trialtree.tracking.index import STATE
from trialtree.tracking.publisher import count
from trialtree.tracking.stores import Store
from trialtree.tracking.trials import KEY, NUMBER, SWEEP

_AFTER = "`trialtree track --all` publishes what failed and was pruned once that is mended"
_Told = tuple[str, str, str]  # the sweep, the number, and how it ended


def publish() -> Iterator[str]:
    """Publish them, and yield what to print; a sweep that runs does so itself.

    Raises:
        StoreError: MLflow cannot be reached.
    """
    wanted = {folder: ended for folder in journal.folders() if (ended := _ended(folder))}
    there = _there(stores.find()) if wanted else set()
    for folder, ended in wanted.items():
        if ended <= there or journal.running(folder):
            continue
        with odb.objects() as objects:
            sweeping = Sweeping(folder, objects)
            for _ in sweeping.finish():
                pass
        yield f"sweep {folder.name}: {count(len(ended - there), 'trial')} that failed or was pruned added"
        yield from sweeping.notes()


def _ended(folder: Path) -> set[_Told]:
    """Return what tells the trials of a sweep that no commit holds."""
    with suppress(journal.SweepError):
        sweep = journal.read(folder)
        return {(sweep.head.id, str(trial.number), unsaved.end(trial)) for trial in sweep.of("failed", "pruned")}
    return set()


def _there(store: Store) -> set[_Told]:
    """Return what tells such trials that MLflow has."""
    known = index.quickly(store)
    if known is None:
        with store.opened(_AFTER) as client:
            known = index.slowly(client, f"tags.`{SWEEP}` != ''")
    return {
        (run.tags.get(SWEEP, ""), run.tags.get(NUMBER, ""), run.tags.get(STATE, ""))
        for run in known if KEY not in run.tags
    }  # fmt: skip
