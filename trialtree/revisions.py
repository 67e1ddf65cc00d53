"""What a revision of the repository is, and which tables DVC and Git hold at it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stages.errors import UserError
from trialtree.tracking import git, history, locks, refs

_TRACKED = "data/source"  # below it, tables have a .dvc file each
_OF_GIT = re.compile(r".+\.(json|csv|parquet)")  # tables that Git itself may hold


class RevisionError(UserError):
    """A revision that is not there, or does not have what is asked of it."""


@dataclass(frozen=True)
class Out:
    """A file or folder of a revision."""

    path: str
    md5: str  # DVC's hash; ends in .dir for a folder


def commit(revision: str) -> str:
    """Return the commit of a revision: a commit, branch or tag, or the name of a DVC experiment.

    Raises:
        RevisionError: there is none, or several experiments have the name.
    """
    found = resolved(revision)
    if found is None:
        raise RevisionError(
            f"{revision or repr(revision)} is no commit, branch, tag or experiment of this repository; "
            "`git log --all --oneline` and `dvc exp show -A` show those there are"
        )
    return found


def resolved(revision: str) -> str | None:
    """Return the commit of a revision, or None where there is none.

    Raises:
        RevisionError: several experiments have the name.
    """
    said = git.run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if said is not None:
        return said
    named = [at for at, names in refs.read().experiments.items() if revision in names]
    if len(named) > 1:
        raise RevisionError(f"{revision} is the name of {len(named)} experiments; give the commit: {', '.join(named)}")
    return named[0] if named else None


def outs(objects: git.Objects, at: str) -> dict[str, Out]:
    """Return what DVC holds at a commit, by path: the outputs of the pipeline, and tables of data/source/."""
    found: dict[str, Out] = {}
    for content, folder in _lists(objects, at):
        for out in content.get("outs") or ():
            if isinstance(out.get("md5"), str):
                path = f"{folder}{out['path']}"
                found[path] = Out(path, out["md5"])
    return found


def _lists(objects: git.Objects, at: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Yield the lists of outputs at a commit, each with the folder that their paths start from."""
    lock = locks.load(history.lock_at(objects, at) or b"") or {}
    for stage in (lock.get("stages") or {}).values():
        yield stage, ""
    for path in files(at, _TRACKED):
        if path.endswith(".dvc"):
            yield locks.load(objects.read(f"{at}:./{path}") or b"") or {}, path.rpartition("/")[0] + "/"


def files(at: str, *folders: str) -> list[str]:
    """Return the files that Git has at a commit, below the working folder or folders in it."""
    said = git.run("ls-tree", "-r", "-z", "--name-only", at, "--", *folders) or ""
    return [path for path in said.split("\0") if path]


def tables(objects: git.Objects, at: str) -> list[str]:
    """Return the paths at a commit that hold a table: to say which there are."""
    own = [path for path in files(at, "reports") if _OF_GIT.fullmatch(path)]
    return sorted({*outs(objects, at), *own} - {locks.MODEL})
