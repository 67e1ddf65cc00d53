"""Run the pipeline and commit the trial.

    trialtree run [STAGE...]

Reads   params.yaml, dvc.yaml and all that the stages read
Writes  the stages' outputs, and one commit; nothing where nothing changed
"""

from collections.abc import Iterator, Sequence

from stages.errors import UserError
from trialtree.branches import commands, committing, pushing, unlocking
from trialtree.branches.commands import CommandError


def run(
    stages: Sequence[str] = (), *, pull: bool = False, push: bool = False, message: str | None = None
) -> Iterator[str]:
    """Run the stages, commit what came of it, and yield what to print.

    Raises:
        UserError: the tree, Git or DVC do not allow it, or a stage failed; then nothing is committed.
    """
    branch = commands.branch()
    with commands.alone() as lock:
        if commands.merging():
            raise CommandError(
                f"a merge is under way: `trialtree finish {branch}` goes on with it, `git merge --abort` ends it"
            )
        commands.check_unlocked(branch)
        committing.check()
        if push:
            pushing.check(branch)
        before = committing.snapshot()
        reproduce(stages, pull=pull, lock=lock)
        committing.check_unchanged(before)
        yield from committing.commit(branch, message)
        if committing.is_whole():
            yield from publish(commands.git("rev-parse", "HEAD"))
        if push:
            yield from pushing.push(branch, lock)


def reproduce(stages: Sequence[str], *, pull: bool, lock: int) -> None:
    """Run `dvc repro`.

    Raises:
        CommandError: it failed.
    """
    unlocking.clear()
    # With the run cache, --pull copies that of the whole remote, every time.
    options = ["--pull", "--no-run-cache"] if pull else []
    if commands.dvc("repro", *options, *stages, lock=lock):
        raise CommandError(
            "dvc repro failed, as it says above; nothing is committed: mend that, and the same command goes on"
        )


def publish(commit: str) -> Iterator[str]:
    """Add the commit to the trial's MLflow run and model version; a store that is away is a warning."""
    from trialtree.tracking import track

    try:
        yield from track.some([commit])
    except UserError as error:
        yield f"warning: the commit is not in MLflow yet: {error}"
