"""The commit and the Git tree that the trials of a sweep start from; files, index and stash stay as they are.

Uncommitted changes to tracked files and files that were added count, as they
do for `dvc exp run`; files that Git does not know do not.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from trialtree.sweep.journal import SweepError
from trialtree.sweep.workers import jobs
from trialtree.tracking import git


@dataclass(frozen=True)
class Snapshot:
    """What the trials start from."""

    baseline: str  # the commit they stand on
    tree: str  # Git's tree: the commit's, with the changes
    changed: tuple[str, ...]  # files with changes
    prefix: str  # of the DVC repository in Git's: empty, or path/


def take() -> Snapshot:
    """Return what stands in the working folder.

    Raises:
        SweepError: a merge is under way, or a file has conflicts that nobody has resolved.
        GitError: there is no repository, or no commit yet.
    """
    baseline = git.head()
    if git.run("rev-parse", "--verify", "--quiet", "MERGE_HEAD") is not None:
        raise SweepError("a merge is under way; finish it, or `git merge --abort`: a sweep needs a commit to stand on")
    top = Path(_git("rev-parse", "--show-toplevel"))
    if unmerged := _git("-C", str(top), "diff", "--name-only", "--diff-filter=U", "-z").split("\0")[0]:
        raise SweepError(f"{unmerged} has conflicts that are not resolved; resolve them, then `git add {unmerged}`")
    with tempfile.TemporaryDirectory() as folder:
        index = Path(folder, "index")
        with suppress(FileNotFoundError):
            shutil.copy(_git("rev-parse", "--git-path", "index"), index)
        env = {"GIT_INDEX_FILE": str(index)}
        _git("-C", str(top), "add", "--update", env=env)
        tree = _git("write-tree", env=env)
    changed = _git("diff-tree", "-r", "--name-only", "-z", f"{baseline}^{{tree}}", tree).split("\0")
    return Snapshot(baseline, tree, tuple(path for path in changed if path), git.prefix())


def _git(*arguments: str, env: Mapping[str, str] | None = None) -> str:
    """Return what git prints.

    Raises:
        SweepError: it refuses.
    """
    # No hook runs for an index that is not the person's own.
    done = subprocess.run(
        ["git", "-c", f"core.hooksPath={os.devnull}", *arguments],
        env={**os.environ, **(env or {})}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SweepError(refusal(arguments[0], done))
    return done.stdout.removesuffix("\n")


def refusal(command: str, done: subprocess.CompletedProcess[str]) -> str:
    """Return in a line why a git command failed: of a line for each file that it could not write, the first."""
    lines = done.stderr.splitlines()
    said = next((line for line in lines if line.startswith("fatal:")), lines[0] if lines else None)
    return f"git {command}: {said or jobs.told(done.returncode)}"


def check_data(sources: Mapping[str, str]) -> None:
    """Stop where data that `dvc add` keeps are not those of their .dvc file; `sources` has each file's MD5.

    Raises:
        SweepError: a file is another one.
    """
    from trialtree.sweep.engine.hashes import md5_of

    for path, md5 in sources.items():
        if not md5.endswith(".dir") and Path(path).is_file() and md5_of(Path(path))[0] != md5:
            raise SweepError(
                f"{path} is not the file of {path}.dvc; `dvc add {path}` takes it into the trials, "
                f"`dvc checkout {path}` puts the old one back"
            )
