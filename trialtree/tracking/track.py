"""Publish trials to MLflow from what Git and DVC hold: some, or all of the repository.

    trialtree track [REV...] [--all]

Done twice, it adds nothing. A store that was lost is made again.
"""

from collections.abc import Iterator, Sequence

from trialtree.tracking import claims, files, git, index, locks, odb, parents, storage, stores, survey, trials
from trialtree.tracking.index import STATE, Known, state
from trialtree.tracking.locks import LOCK, TrialError
from trialtree.tracking.publisher import Publisher, Runs, count, gaps
from trialtree.tracking.runs import Run, publish
from trialtree.tracking.stores import Store
from trialtree.tracking.survey import Place, Survey
from trialtree.tracking.trials import REPOSITORY, Trial

_AFTER = "nothing of Git is lost; `trialtree track{}` publishes it once that is mended"


def some(revisions: Sequence[str]) -> Iterator[str]:
    """Publish the trials of commits, and yield what to print; of no commit, the trial of the working folder.

    Raises:
        TrialError: a commit holds no whole trial.
        GitError: there is no such commit.
        StoreError: MLflow cannot be reached.
    """
    commits = [_commit(revision) for revision in revisions or ["HEAD"]]
    if not revisions and _uncommitted(commits[0]):
        yield from _workspace()
        return
    found = survey.read(trials.main(files.Here()), *commits)
    places = [found.at(commit) or _none(commit) for commit in commits]
    store = stores.find()
    with git.objects() as objects, store.opened(_AFTER.format("".join(f" {c[:7]}" for c in commits))) as client:
        settings = storage.read()
        wanted = parents.groups(found.places, settings.origin)
        publisher = Publisher(client, store, objects, settings=settings, wanted=wanted)
        for place in dict.fromkeys(places):
            trial, run = publisher.publish(place)
            yield from _said(place.commit, run)
            yield from publisher.versions(trial, place.commit)
            yield from _inexact(place, trial)
        publisher.nest()


def everything() -> Iterator[str]:
    """Publish every trial that Git holds, and of this machine's sweeps those that it does not; yield what to print.

    Raises:
        GitError: there is no repository.
        StoreError: MLflow cannot be reached.
    """
    from trialtree.sweep.publishing import missing

    yield from _of_git()
    yield from missing.publish()


def _of_git() -> Iterator[str]:
    """Publish every trial that Git holds."""
    found, store = survey.read(trials.main(files.Here())), stores.find()
    settings = storage.read()
    wanted = parents.groups(found.places, settings.origin)
    known = index.quickly(store)
    if known is not None and not _waiting(found, known, settings, wanted) and not _untidy(store, known, wanted):
        yield f"{count(len(found.places), 'trial')}: all are in MLflow at {store.shown}"
        yield from gaps(known)
        yield from _not_in_git(found, known, settings)
        return
    with (
        odb.objects() as objects,
        store.opened(_AFTER.format(" --all")) as client,
        claims.in_bulk(client),
    ):
        known = None if known is None else index.quickly(store)  # now that nobody else publishes here
        known = index.slowly(client) if known is None else known
        publisher = Publisher(client, store, objects, known, settings, wanted)
        yield from publisher.all(_waiting(found, known, settings, ()) if known else found.places, len(found.places))
        publisher.nest()
        if store.embedded:
            parents.tidy(client, wanted, index.quickly(store) or ())
    yield from _not_in_git(found, index.quickly(store) or known, settings)


def _untidy(store: Store, known: Sequence[Known], wanted: Sequence[parents.Group]) -> bool:
    """Say whether a store that only this repository uses has a run for a group that there is no more."""
    return store.embedded and bool(parents.gone(wanted, known))


def _waiting(
    found: Survey, known: Sequence[Known], settings: storage.Settings, wanted: Sequence[parents.Group]
) -> list[Place]:
    """Return the trials that the store does not have as Git has them; any where one is not below its parent."""
    runs = Runs(known)
    there = {place: run for place in found.places if (run := runs.of(place))}
    waiting = [
        place for place in found.places
        if place not in there or not there[place].whole or there[place].tags.get(STATE) != state(place, settings)
        or any(storage.cached([*settings.caches], md5) for md5 in there[place].missing.values())
    ]  # fmt: skip
    return waiting or (found.places if parents.lacking(wanted, there, known, settings) else [])


def _commit(revision: str) -> str:
    """Return the commit of a revision."""
    found = git.run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if found is None:
        raise git.GitError(f"{revision} is no commit of this repository; `git log` shows those there are")
    return found


def _uncommitted(head: str) -> bool:
    """Say whether the working folder holds another trial than HEAD."""
    with git.objects() as objects:
        content = objects.read(f"{head}:./{LOCK}")
    if not LOCK.exists():
        return False
    return content is None or locks.without_register(content) != locks.without_register(LOCK.read_bytes())


def _workspace() -> Iterator[str]:
    """Publish the trial of the working folder, which no commit holds."""
    trial, store = trials.workspace(), stores.find()
    with store.opened(_AFTER.format("")) as client:
        run = publish(trial, client, store)
    yield f"{trial.shown}: run {run.name} ({run.id})"
    yield "no commit holds this trial, so it cannot be rebuilt: `git commit`, then `trialtree track` adds the commit"


def _none(commit: str) -> Place:
    """Say why a commit holds no trial.

    Raises:
        TrialError: always.
    """
    with git.objects() as objects:
        content = objects.read(f"{commit}:./{LOCK}")
    if content is None:
        raise TrialError(f"commit {commit[:7]} has no {LOCK}: the pipeline has not run there")
    try:
        locks.read_lock(content)
    except TrialError as error:
        raise TrialError(f"commit {commit[:7]}: {error}") from None
    raise AssertionError(commit)


def _said(commit: str, run: Run) -> Iterator[str]:
    """Yield what came of a trial."""
    did = "is published as" if run.made else "is added to" if run.changed else "is known to"
    yield f"commit {commit[:7]} {did} run {run.name} ({run.id})"
    yield from run.notes
    if run.missing:
        yield (
            f"not in DVC's cache here, so missing from the run: {', '.join(run.missing[:4])}; "
            f"`dvc fetch` brings them, and `trialtree track {commit[:7]}` adds them"
        )


def _inexact(place: Place, trial: Trial) -> Iterator[str]:
    """Yield a line for a commit that lacks what its trial ran with."""
    if trial.differing:
        named = ", ".join(trial.differing[:3])
        named += f" and {len(trial.differing) - 3} more" if len(trial.differing) > 3 else ""
        yield (
            f"commit {place.commit[:7]} is not all that its trial came from: it has another {named} than the stages "
            "ran with; commit that too, or run `dvc repro`"
        )


def _not_in_git(found: Survey, known: Sequence[Known], settings: storage.Settings) -> Iterator[str]:
    """Yield a line on the runs of this repository that no commit holds, and that cannot be made again."""
    held = {commit for place in found.places for commit in place.commits}
    alone = [
        run for run in known
        if run.key and held.isdisjoint(run.commits) and run.tags.get(REPOSITORY) == settings.origin
    ]  # fmt: skip
    if alone:
        named = ", ".join(f"{run.name} ({run.id[:8]})" for run in alone[:5]) + (", ..." if len(alone) > 5 else "")
        yield f"{count(len(alone), 'run')} of trials that no commit here holds, and that cannot be rebuilt: {named}"
