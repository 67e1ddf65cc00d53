"""The model of a trial becomes a version of the registry, from the experiment's commit and DVC's cache alone.

As the stage register does it, gates and all, in a folder of its own: the
user's workspace stays as it is.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from stages import params
from stages.errors import UserError
from trialtree import objects as cache
from trialtree import revisions
from trialtree.tracking import Run, git, locks, stores, survey, trials, versions
from trialtree.tracking import files as tracked
from trialtree.tracking import trials as tracking
from trialtree.tracking.publisher import Publisher
from trialtree.tracking.survey import Place

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from stages.register import RegisterParams

# What registration reads of DVC's outputs: the model, the rows that it is compared on, and what describes them.
_NEEDED = {locks.MODEL: [""], locks.SPLIT: ["test", "columns.json"], "reports/data.json": [""], "reports/script": [""]}
_AFTER = "the trial is kept; the same command registers it once that is mended"


class RegisterError(UserError):
    """A model that may not be registered, or cannot."""


def register(commit: str) -> Iterator[str]:
    """Register the model of an experiment's commit once, and yield what to print.

    Raises:
        RegisterError: a gate fails, or params.yaml has no name for the model.
        UserError: the model is neither here nor in the remote, the store cannot be used.
    """
    branch = git.branch()
    with tempfile.TemporaryDirectory() as made, git.objects() as objects:
        folder = Path(made)
        _lay_out(objects, commit, folder)
        place, store = _place(commit), stores.find()
        with store.opened(_AFTER) as client:
            trial, run = Publisher(client, store, objects).publish(place)
            yield f"run {run.name} ({run.id}) of experiment {trial.experiment}, in {store.shown}"
            yield from run.notes
            with _inside(folder):
                yield from _registered(client, trial, run, branch)


def _place(commit: str) -> Place:
    """Return the trial that a commit holds."""
    place = survey.read(trials.main(tracked.Here()), commit).at(commit)
    if place is None:
        raise RegisterError(f"commit {commit[:7]} holds no whole trial")
    return place


def _lay_out(objects: git.Objects, commit: str, folder: Path) -> None:
    """Put what Git has of a commit into a folder, and beside it what registration needs of DVC's cache."""
    for path in revisions.files(commit):
        content = objects.read(f"{commit}:./{path}")
        if content is not None:  # None of a submodule
            _target(folder, path).write_bytes(content)
    for path, out in revisions.outs(objects, commit).items():
        for below in _NEEDED.get(path, ()):
            for name, place in cache.located(out, below):
                _target(folder, name).symlink_to(place.absolute())


def _target(folder: Path, path: str) -> Path:
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """Stand in a folder, as the stage does in its own."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _registered(client: "MlflowClient", trial: tracking.Trial, run: Run, branch: str | None) -> Iterator[str]:
    """Register the model of the working folder if its gates hold, and yield what to print."""
    from stages import gates
    from stages import register as stage

    content = params.load()
    section, said = stage.asked(params.parse("register", content.get("register"), stage.RegisterParams))
    yield from said
    champion = stage.compare(client, section, trial, content.get("evaluate") or {})
    results = gates.check(section.gates, trial.metrics, champion)
    yield from map(str, results)
    if failed := [result.metric for result in results if not result.holds]:
        raise RegisterError(f"nothing is registered: {_gates(failed)}; `--trial NUMBER` registers another trial")
    yield from _version(client, section, trial, run, branch)


def _gates(failed: list[str]) -> str:
    names = ", ".join(dict.fromkeys(failed))
    return f"the gate on {names} fails" if len(set(failed)) == 1 else f"the gates on {names} fail"


def _version(
    client: "MlflowClient", section: "RegisterParams", trial: tracking.Trial, run: Run, branch: str | None
) -> Iterator[str]:
    """Make the version, or find it, and yield what to print."""
    from stages import foreign, models
    from stages import register as stage

    if models.by_script() and not foreign.there():
        raise RegisterError("nothing is registered: the script left no model")
    if section.name is None:
        raise RegisterError("nothing is registered: the trial's params.yaml has no register.name")
    move = branch == section.branch
    version = versions.register(client, section.name, trial, run, move=move)
    if not move:
        here = f"branch {branch}" if branch else "a detached HEAD"
        yield f"aliases stay as they are: this is {here}, and they move on {section.branch}"
    yield stage.outcome(version)
