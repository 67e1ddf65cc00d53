"""The outputs of a revision, laid out in a folder as in a workspace by links into DVC's cache."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trialtree.review.remotely import Remote
from trialtree.revisions import Out
from trialtree.tracking import git, storage


@dataclass
class Laid:
    """A revision's outputs below a folder, brought there one by one as they are asked for."""

    commit: str
    folder: Path
    outs: Mapping[str, Out]
    content: git.Objects = field(repr=False)
    remote: Remote = field(repr=False)
    missing: dict[str, str] = field(default_factory=dict, repr=False)  # why an output could not be brought

    def have(self, path: str, below: str = "") -> str | None:
        """Lay out an output, or what is `below` in it; return why it is not there, None where it is.

        What the cache lacks is pulled where the remote is for that.
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
        files = self._cached(out, below)
        if files is None and self.remote.pull:
            (reason,) = self.remote.bring([(out, below)], None)
            if reason is not None:
                return reason
            files = self._cached(out, below)
        if files is None:
            return self.missing.get(path) or f"{path} is not in DVC's cache here; `--pull` brings it from the remote"
        for name, place in files:
            link = self.folder / name
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(place)
        return None if files else f"{path} at {self.commit[:7]} has no {below}"

    def bring(self, paths: Sequence[str]) -> None:
        """Bring outputs that the cache lacks from the remote, all at once; what fails `have` says."""
        wanted = [self.outs[path] for path in paths if path in self.outs]
        wanted = [out for out in wanted if out.md5 and self._cached(out, "") is None and not self._in_git(out)]
        if wanted:
            reasons = self.remote.bring([(out, "") for out in wanted])
            self.missing |= {out.path: said for out, said in zip(wanted, reasons, strict=True) if said is not None}

    def _in_git(self, out: Out) -> bool:
        return not out.md5.endswith(".dir") and self.content.read(f"{self.commit}:./{out.path}") is not None

    def _cached(self, out: Out, below: str) -> list[tuple[str, Path]] | None:
        """Return the files of an output, all of them in the cache; None where one is not."""
        caches = self.remote.caches
        place = storage.cached(caches, out.md5)
        if place is None or not out.md5.endswith(".dir"):
            return None if place is None else [(out.path, place)]
        listed = [(entry["relpath"], storage.cached(caches, entry["md5"])) for entry in storage.manifest(place)]
        chosen = [(n, p) for n, p in listed if not below or n == below or n.startswith(f"{below}/")]
        found = [(f"{out.path}/{name}", path) for name, path in chosen if path is not None]
        return found if len(found) == len(chosen) else None

    def read(self, path: str, below: str = "") -> bytes | None:
        """Return the content of a file; None where it cannot be had."""
        if self.have(path, below) is not None:
            return None
        try:
            return (self.folder / path / below).read_bytes()
        except OSError:
            return None
