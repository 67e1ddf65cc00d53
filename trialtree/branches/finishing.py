"""Make a trial's branch ready to merge: today's main taken in, and the trial made anew on it.

    trialtree finish NAME

Reads   the branch and what it is to go onto
Writes  a merge commit on the branch; merging it into main is a fast-forward then
"""

import subprocess
import sys
from collections.abc import Iterator

from trialtree.branches import commands, committing, merging, running, starting
from trialtree.branches.commands import CommandError
from trialtree.tracking import git


def finish(name: str, onto: str = "main", *, pull: bool = False) -> Iterator[str]:
    """Merge `onto` into branch `name`, run the pipeline, commit; yield what to print.

    Killed or stopped by a conflict it goes on when called again; done, it does nothing.

    Raises:
        UserError: there is no such branch, a conflict is left to the person, or the pipeline failed.
    """
    with commands.alone() as lock:
        target = _target(name, onto)
        committing.check_identity()
        merging.install()
        if not commands.merging():
            yield from _switch(name)
            if _is_in("HEAD", target):
                commands.git("merge", "--quiet", "--ff-only", target)
                yield f"{name} has no commit that {onto} lacks; it is now at {target[:7]}, as {onto} is"
                return
            if not _is_in(target, "HEAD"):
                yield from _merge(name, onto, target)
        elif git.branch() != name:
            raise CommandError(
                f"a merge is under way on {git.branch()}; end it first: `git merge --abort`, or `git commit`"
            )
        yield from _rebuild(name, onto, pull=pull, lock=lock)
        yield from _next(name, onto)


def _target(name: str, onto: str) -> str:
    """Return the commit that the branch is to take in."""
    if commands.commit_of(f"refs/heads/{name}") is None:
        away = commands.commit_of(f"refs/remotes/origin/{name}")
        mend = f"`git switch {name}` takes it from origin" if away else "see `trialtree list`"
        raise CommandError(f"there is no branch {name} here; {mend}")
    target = commands.commit_of(onto) or commands.commit_of(f"refs/remotes/origin/{onto}")
    if target is None:
        raise CommandError(f"--onto: there is no {onto}; see `git branch --all`, or `git fetch` first")
    return target


def _is_in(commit: str, other: str) -> bool:
    """Say whether `other` holds all of `commit`."""
    return git.run("merge-base", "--is-ancestor", commit, other) is not None


def _switch(name: str) -> Iterator[str]:
    starting.refuse_changes("`trialtree run` commits a trial, `git stash` puts changes aside")
    if git.branch() != name:
        commands.git("switch", "--quiet", name)
        yield f"switched to {name}"


def _merge(name: str, onto: str, target: str) -> Iterator[str]:
    """Begin the merge; what both changed of params.yaml is said."""
    driver = f"'{sys.executable}' -m trialtree.cli merge-file %O %A %B %P"
    # Not the driver of the configuration: `trialtree` need not be on PATH.
    options = ("-c", f"merge.trialtree.driver={driver}")
    done = commands.attempt(*options, "merge", "--no-commit", "--no-ff", target, env=merging.FINISH)
    yield from (line for line in done.stderr.splitlines() if line.startswith("params.yaml:"))
    if done.returncode and not commands.merging():
        raise CommandError(f"git merge {onto}: {commands.reason(done)}")
    yield f"merging {onto} ({target[:7]}) into {name}"


def _rebuild(name: str, onto: str, *, pull: bool, lock: int) -> Iterator[str]:
    """Run the pipeline on what was merged, and commit it.

    Raises:
        CommandError: conflicts or faults are left to the person.
    """
    again = f"then `git add` it and repeat `trialtree finish {name}`"
    if unmerged := commands.git("diff", "--name-only", "--diff-filter=U"):
        raise CommandError(f"{commands.listed(unmerged.splitlines())}: both changed it; mend it, {again}")
    under_way = commands.merging() is not None
    if not under_way and not _stale():
        return
    check = subprocess.run(
        [sys.executable, "-m", "trialtree.cli", "check"], capture_output=True, text=True, check=False
    )
    if check.returncode:
        raise CommandError(f"{check.stderr.rstrip()}\nthe merge does not fit together: mend that, {again}")
    committing.check()
    before = committing.snapshot()
    running.reproduce((), pull=pull, lock=lock)
    committing.check_unchanged(before)
    said = f"Merge {onto} into {name}: {committing.summary()}" if under_way else None
    yield from committing.commit(name, said, merge=under_way)
    yield from running.publish(git.head())


def _stale() -> bool:
    """Say whether a stage that makes the trial would run; data that are not here do not matter."""
    from dvc.repo import Repo

    with Repo() as repo, repo.lock:
        stages = [stage for name in ("fetch", "split", "train", "evaluate") for stage in repo.stage.collect(name)]
        return any(stage.changed(allow_missing=True) for stage in stages)


def _next(name: str, onto: str) -> Iterator[str]:
    """Say how to go on; and that the remote's main is further, when it is."""
    local = commands.commit_of(f"refs/heads/{onto}")
    away = commands.commit_of(f"refs/remotes/origin/{onto}") if local else None
    if local and away and not _is_in(away, local):
        yield f"origin/{onto} is ahead of {onto}: `trialtree finish {name} --onto origin/{onto}` takes that in too"
    if local:
        yield f"{name} holds all of {onto}; next: `git switch {onto} && git merge --ff-only {name}`"
    else:
        yield f"{name} holds all of {onto}; next: `trialtree run --push`"
