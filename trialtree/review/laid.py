"""The outputs of a revision, laid out in a folder as in a workspace by links into DVC's cache."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stages.errors import UserError
from trialtree import objects
from trialtree.revisions import Out
from trialtree.tracking import git, storage


@dataclass
class Laid:
    """A revision's outputs below a folder, brought there one by one as they are asked for."""

    commit: str
    folder: Path
    outs: Mapping[str, Out]
    content: git.Objects = field(repr=False)
    pull: bool = False  # data and models too, where the cache lacks them

    def have(self, path: str, below: str = "", *, pull: bool = False) -> str | None:
        """Lay out an output, or what is `below` in it; return why it is not there, None where it is.

        What the cache lacks is pulled where `pull` or the one of the whole says so.
        """
        out = self.outs.get(path)
        target = self.folder / path / below
        said = self.content.read(f"{self.commit}:./{path}") if out is None or not out.md5.endswith(".dir") else None
        if said is not None:  # Git's own, as metrics are
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(said)
            return None
        if out is None:
            return f"{path} is no output at {self.commit[:7]}"
        try:
            files = objects.located(out, below) if pull or self.pull else self._cached(out, below)
        except UserError as error:
            return str(error)
        if files is None:
            return f"{path} is not in DVC's cache here; `--pull` brings it from the remote"
        for name, place in files:
            link = self.folder / name
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(place)
        return None if files else f"{path} at {self.commit[:7]} has no {below}"

    def _cached(self, out: Out, below: str) -> list[tuple[str, Path]] | None:
        """Return the files of an output, all of them in the cache; None where one is not."""
        caches = storage.caches(storage.config())
        place = storage.cached(caches, out.md5)
        if place is None or not out.md5.endswith(".dir"):
            return None if place is None else [(out.path, place)]
        listed = [(entry["relpath"], storage.cached(caches, entry["md5"])) for entry in storage.manifest(place)]
        chosen = [(n, p) for n, p in listed if not below or n == below or n.startswith(f"{below}/")]
        found = [(f"{out.path}/{name}", path) for name, path in chosen if path is not None]
        return found if len(found) == len(chosen) else None

    def read(self, path: str, below: str = "", *, pull: bool = False) -> bytes | None:
        """Return the content of a file; None where it cannot be had."""
        if self.have(path, below, pull=pull) is not None:
            return None
        try:
            return (self.folder / path / below).read_bytes()
        except OSError:
            return None
