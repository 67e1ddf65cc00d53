"""Push a trial: its data first, then its commit, so that nobody sees a commit whose data are nowhere."""

from collections.abc import Iterator

from trialtree.branches import commands
from trialtree.branches.commands import CommandError
from trialtree.branches.committing import pipeline_objects
from trialtree.remotes import proving
from trialtree.remotes.presence import Cloud
from trialtree.tracking import git


def remote(branch: str) -> str:
    """Return the Git remote of a branch: its own, else origin.

    Raises:
        CommandError: there is none.
    """
    name = git.run("config", "--get", f"branch.{branch}.remote") or "origin"
    if git.run("remote", "get-url", name) is None:
        raise CommandError(f"there is no Git remote called {name}: `git remote add {name} ADDRESS`")
    return name


def check(branch: str) -> None:
    """Stop before the pipeline runs where a push cannot work.

    Raises:
        UserError: there is no Git remote, no DVC remote, or that does not work.
    """
    from dvc.repo import Repo

    remote(branch)
    with Repo() as repo:
        if not repo.config["core"].get("remote"):
            raise CommandError("there is no DVC remote to push the data to: `trialtree remote s3://BUCKET/PREFIX`")
        if wrong := proving.proved_again(repo):
            raise CommandError(wrong)


def push(branch: str, lock: int | None = None) -> Iterator[str]:
    """Push the data of the trial that is checked out, then its branch; yield what to print.

    Raises:
        CommandError: either failed; the commit stays, and a repeat goes on.
    """
    name = remote(branch)
    if commands.dvc("push", lock=lock):
        raise CommandError(f"dvc push failed: {_why()}; the commit is here, and `trialtree run --push` goes on")
    yield from _mend()
    yield from _push_branch(name, branch)


def _why() -> str:
    """Return why the remote does not work."""
    from dvc.repo import Repo

    with Repo() as repo:
        return proving.proved_again(repo) or "see what it says above"


def _mend() -> Iterator[str]:
    """Upload what DVC takes to be there because a folder's list is."""
    from dvc.repo import Repo

    with Repo() as repo:
        cloud = Cloud(repo)
        wanted = cloud.contents(pipeline_objects())
        missing = set(wanted) - cloud.held(wanted)
        if lost := cloud.put(missing):
            raise CommandError(f"{len(lost)} objects are neither in DVC's cache nor in the remote ({lost[0]}, ...): "
                               "`dvc repro --force` makes them anew; nothing is pushed to Git")  # fmt: skip
    yield f"data: {len(wanted)} objects are in the DVC remote" + (
        f", {len(missing)} of them put back" if missing else ""
    )


def _push_branch(name: str, branch: str) -> Iterator[str]:
    """Push the branch, never by force."""
    done = commands.attempt("push", "--set-upstream", name, f"refs/heads/{branch}:refs/heads/{branch}")
    if done.returncode:
        said = done.stderr + done.stdout
        if "non-fast-forward" in said or "fetch first" in said:
            raise CommandError(_moved(name, branch))
        raise CommandError(
            f"git push: {commands.reason(done)}; data and commit are safe, and `trialtree run --push` goes on"
        )
    up_to_date = "Everything up-to-date" in done.stderr
    yield f"branch {branch}: {'already in' if up_to_date else 'pushed to'} {name}"


def _moved(name: str, branch: str) -> str:
    """Return what the remote's branch has that this one has not, and how to go on."""
    commands.git("fetch", "--quiet", name, branch)
    theirs = f"{name}/{branch}"
    count = commands.git("rev-list", "--count", f"HEAD..{theirs}")
    who, subject = commands.git("log", "-1", "--format=%an%n%s", theirs).split("\n")
    return (
        f"{theirs} moved: it has what is not here, {count} commit{'s' * (count != '1')}, the last by {who} "
        f"({subject}); "
        f"nothing there is overwritten, and your data are uploaded. `trialtree finish {branch} --onto {theirs}` takes "
        "them in, then `trialtree run --push`"
    )
