"""A trial of a sweep into the workspace or onto a branch: by DVC, whose experiment it is."""

import subprocess
import sys
from collections.abc import Iterator

from stages.errors import UserError
from trialtree import revisions
from trialtree.branches import commands
from trialtree.sweep.records import Sweep, Trial
from trialtree.sweep.screen import words
from trialtree.tracking import git


class BestError(UserError):
    """A trial that is not there, or cannot be had."""


def there(sweep: Sweep, trial: Trial) -> bool:
    """Say whether a trial's experiment is still in Git."""
    base = sweep.head.baseline
    ref = f"refs/exps/{base[:2]}/{base[2:]}/{trial.name}"
    return trial.commit is not None and git.run("rev-parse", "--verify", "--quiet", ref) == trial.commit


def commit(sweep: Sweep, trial: Trial) -> str:
    """Return the commit of a trial's experiment.

    Raises:
        BestError: it was removed.
    """
    if there(sweep, trial):
        return str(trial.commit)
    said = f"the experiment {trial.name} of trial {trial.number} was removed"
    if trial.commit and git.run("cat-file", "-t", trial.commit) == "commit":
        raise BestError(f"{said}; Git still has its commit: `git branch NAME {trial.commit[:7]}` keeps it")
    params = " ".join(f"-S {key}={words.value(value)}" for key, value in trial.values.items())
    raise BestError(f"{said}, and its commit with it; to make it again: dvc exp run {params}")


def apply(sweep: Sweep, trial: Trial) -> Iterator[str]:
    """Put an experiment into the workspace, as `dvc exp apply` does.

    Raises:
        BestError: changes that no commit has would be set aside, and lost at the next time.
    """
    if lost := list(_lost(commit(sweep, trial))):
        raise BestError(
            f"{commands.listed(lost)}: changed and not committed, and `dvc exp apply` would set that aside; "
            "commit or stash it first"
        )
    _dvc("exp", "apply", str(trial.name))
    yield f"trial {trial.number}, {trial.name}, is in the workspace; `trialtree run` commits it"
    if git.run("rev-parse", "HEAD") != sweep.head.baseline:
        yield (
            f"HEAD has gone on since the sweep, which stood on {sweep.head.baseline[:7]}: "
            "`git diff` shows what the trial takes back"
        )


def _lost(commit: str) -> Iterator[str]:
    """Yield the files with changes that neither a commit nor the pipeline could bring back."""
    applied = git.run("rev-parse", "--verify", "--quiet", "refs/exps/exec/EXEC_APPLY")
    top = git.prefix()
    with git.objects() as objects:
        made = {"dvc.lock", *revisions.outs(objects, commit)}
    changed = [
        change.path for change in git.changes()
        if not any(change.path == top + out or change.path.startswith(f"{top}{out}/") for out in made)
    ]  # fmt: skip
    of_trial = git.names([f"{commit}:{path}" for path in changed])
    for path, of in zip(changed, of_trial, strict=True):
        if of is None:  # what the trial has not is left alone
            continue
        here = git.run("hash-object", "--path", path, "--", path.removeprefix(top))
        if here not in (None, of) and (not applied or here != git.names([f"{applied}:{path}"])[0]):
            yield path


def branch(sweep: Sweep, trial: Trial, name: str) -> Iterator[str]:
    """Make a branch of an experiment, as `dvc exp branch` does.

    Raises:
        BestError: the name is taken, or none for a branch.
    """
    at = commit(sweep, trial)
    if git.run("check-ref-format", "--branch", name) is None:
        raise BestError(f"--branch: must be a name that Git takes for a branch, got {name!r}")
    if git.run("rev-parse", "--verify", "--quiet", f"refs/heads/{name}") is not None:
        raise BestError(f"--branch: there is a branch {name} already; give another name")
    _dvc("exp", "branch", str(trial.name), name)
    yield f"branch {name} stands at trial {trial.number}, commit {at[:7]}; `git switch {name}` goes there"


def _dvc(*args: str) -> None:
    """Run dvc.

    Raises:
        BestError: it could not; the line is what it says.
    """
    done = subprocess.run([sys.executable, "-m", "dvc", *args], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BestError(f"dvc {' '.join(args)}: {commands.reason(done).removeprefix('ERROR: ')}")
