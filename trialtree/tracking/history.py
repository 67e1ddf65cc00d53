"""Which commits changed dvc.lock, and which of them put something there first."""

from collections.abc import Callable
from pathlib import Path

from trialtree.tracking import git
from trialtree.tracking.locks import LOCK

_NAME = f":./{LOCK}"  # of the file, behind a commit


def lock_at(objects: git.Objects, commit: str) -> bytes | None:
    """Return dvc.lock as a commit has it; None where it has none."""
    return objects.read(commit + _NAME)


def changes(*revisions: str) -> dict[str, list[str]]:
    """Return the commits reachable from `revisions` that changed dvc.lock, newest first, each with those before it."""
    said = git.run("rev-list", "--parents", *revisions, "--", f"./{LOCK}") or ""
    lines = (line.split() for line in said.splitlines())
    return {commit: parents for commit, *parents in lines}


def first(objects: git.Objects, commit: str, holds: Callable[[bytes], bool]) -> str | None:
    """Return the commit that first had a dvc.lock for which `holds`, going back from `commit` as long as it does.

    None where `commit` itself has no such dvc.lock, or where a shallow clone has lost that commit.
    """

    def held(at: str) -> bool:
        content = lock_at(objects, at)
        return content is not None and holds(content)

    if not held(commit):
        return None
    history = changes(commit)
    found: str | None = next(iter(history), None)
    while found is not None:
        before = next((parent for parent in history.get(found, ()) if held(parent)), None)
        if before is None:
            break
        found = before
    return None if found in _cut() else found


def _cut() -> list[str]:
    """Return the commits whose parents a shallow clone does not have."""
    path = git.run("rev-parse", "--git-path", "shallow")
    return Path(path).read_text(encoding="ascii").split() if path and Path(path).exists() else []
