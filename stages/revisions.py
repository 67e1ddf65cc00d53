"""Get a table out of a Git repository, by DVC, at a revision: `dvc:<git url or path>#<path>@<rev>`."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self

from stages import downloads, masking
from stages.content import Facts, File, inside
from stages.keeping import repository
from stages.tables import DataError

SCHEME = "dvc:"
_FORM = re.compile(r"dvc:(?P<url>[^#]+)#(?P<path>[^#]+?)(?:@(?P<rev>[^@#\s]+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_PATIENCE = 60  # seconds for a server to list its branches


@dataclass(frozen=True, slots=True)
class Place:
    """A path in a repository at a revision."""

    url: str
    path: str
    rev: str

    @classmethod
    def of(cls, name: str) -> Self:
        """Return the place that a name without faults names."""
        found = _FORM.fullmatch(name)
        if found is None or not found["rev"]:
            raise ValueError(name)
        return cls(found["url"], found["path"], found["rev"])

    @property
    def where(self) -> str:
        """The repository as git takes it: a relative path is relative to this repository."""
        path = repository() / Path(self.url).expanduser()
        return str(path) if path.exists() else self.url


def fault(name: str) -> str | None:
    """Return what is wrong with a name as a source."""
    if masking.opens_a_door(name.removeprefix(SCHEME)):
        return "must not carry a user or a password, for it stands in Git; Git's credential helper keeps them"
    found = _FORM.fullmatch(name)
    if found is None or not _is_inside(found["path"]) or found["url"].startswith("-"):
        return "must be dvc:REPOSITORY#PATH@REVISION, with a path inside the repository"
    if not found["rev"]:
        return "must end in a revision: @COMMIT, @TAG or @BRANCH"
    return None


def _is_inside(path: str) -> bool:
    """Say whether a path does not lead out of a repository."""
    return not path.startswith(("-", "/")) and ".." not in PurePosixPath(path).parts


def download(name: str, folder: Path, known: Sequence[Facts] | None = None) -> list[File] | None:
    """Get a file, or the files of a folder, into a folder; None where they are of the commit of the `known` ones.

    Raises:
        DataError: there is no such repository, revision or path, or its data cannot be had.
    """
    place, shown = Place.of(name), masking.masked(name)
    commit = _commit(place, shown)
    if known and all(each.get("commit") == commit for each in known):
        return None
    out = folder / f"0{downloads.suffix(place.path)}"
    command = ["dvc", "get", "--force", place.where, place.path, "--rev", commit, "--out", str(out)]
    done = _run([sys.executable, "-m", *command])
    if done.returncode:
        said = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        why = masking.masked(said[0].removeprefix("unexpected error - ")) if said else "`dvc get` failed"
        raise DataError(
            f"{shown}: {why}; see that the path is right and that the data of {commit[:10]} are in the repository's "
            "DVC remote"
        )
    files = inside(shown, out) if out.is_dir() else [File(shown, out)]
    return [File(file.shown, file.path, {"commit": commit}) for file in files]


def _commit(place: Place, shown: str) -> str:
    """Return the commit of a revision, without a clone."""
    if _COMMIT.fullmatch(place.rev):
        return place.rev
    if Path(place.where).is_dir():
        verify = ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{place.rev}^{{commit}}"]
        done = _run(["git", "-C", place.where, *verify])
        if not done.returncode:
            return done.stdout.strip()
        if _run(["git", "-C", place.where, "rev-parse", "--git-dir"]).returncode:
            raise DataError(f"{shown}: {place.url} is no Git repository; see that fetch.source is right")
    else:
        done = _run(["git", "ls-remote", "--", place.where])
        if done.returncode:
            said = (done.stderr.strip().splitlines() or ["does not answer"])[-1]
            raise DataError(
                f"{shown}: the repository cannot be read: {masking.masked(said)}; see that its address is right and "
                "that Git has your credentials"
            )
        refs = {ref: commit for commit, ref in (line.split("\t") for line in done.stdout.splitlines())}
        # An annotated tag is an object of its own; `^{}` is the commit that it names.
        names = (f"refs/tags/{place.rev}^{{}}", f"refs/tags/{place.rev}", f"refs/heads/{place.rev}", place.rev)
        if found := next((refs[ref] for ref in names if ref in refs), None):
            return found
    raise DataError(
        f"{shown}: the repository has no branch or tag {place.rev!r}; a commit is given by all its 40 digits"
    )


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run git or dvc outside this repository; neither may ask for a password."""
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GIT_DIR", "GIT_INDEX", "GIT_WORK", "DVC_ROOT"))
    }
    env |= {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8", "DVC_NO_ANALYTICS": "true"}
    env.setdefault("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")
    limit = None if "dvc" in command else _PATIENCE
    try:
        return subprocess.run(
            command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=limit
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no answer within {_PATIENCE} s")
