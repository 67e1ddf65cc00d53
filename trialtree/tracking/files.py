"""The files of a trial, wherever they are: in the working folder, or in Git and DVC's caches."""

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol

from trialtree.tracking import git, storage

_LARGEST = 10_000_000  # bytes of a file that is read


class Files(Protocol):
    """The files of a trial."""

    def read(self, path: str) -> bytes | None:
        """Return the content of a file; None where there is none, or one of over 10 MB."""

    def below(self, folder: str) -> list[str]:
        """Return the paths of the files in a folder and its folders, sorted."""


class Here:
    """The files of the working folder."""

    def read(self, path: str) -> bytes | None:
        """Return the content of a file."""
        place = Path(path)
        return place.read_bytes() if place.is_file() and place.stat().st_size <= _LARGEST else None

    def below(self, folder: str) -> list[str]:
        """Return the paths of the files in a folder."""
        return sorted(path.as_posix() for path in Path(folder).rglob("*") if path.is_file())


class Recorded(Here):
    """The files of the working folder, but params.yaml as the trial's own commit has it."""

    def __init__(self, objects: git.Objects, commit: str) -> None:
        self._objects, self._commit = objects, commit

    def read(self, path: str) -> bytes | None:
        """Return the content of a file."""
        return self._objects.read(f"{self._commit}:./{path}") if path == "params.yaml" else super().read(path)


class Kept:
    """The files of a commit: those that Git has, and the outputs that DVC has on this machine."""

    def __init__(self, objects: git.Objects, commit: str, lock: Mapping[str, Any], caches: Sequence[Path]) -> None:
        self._objects, self._commit, self._lock, self._caches = objects, commit, lock, tuple(caches)
        self.missing: dict[str, str] = {}  # outputs that were asked for and are not on this machine, with their hashes

    @cached_property
    def _outs(self) -> dict[str, str]:
        """DVC's hash of each output, of a folder's files too."""
        found: dict[str, str] = {}
        for stage in self._lock.values():
            for out in stage.get("outs", ()):
                found[out["path"]] = out.get("md5", "")
        for path, md5 in [*found.items()]:
            if md5.endswith(".dir"):
                found |= {f"{path}/{name}": inner for name, inner in _listed(self._caches, md5)}
        return found

    def read(self, path: str) -> bytes | None:
        """Return the content of a file."""
        md5 = self._outs.get(path)
        if md5 is None:
            folder = next((out for out in self._outs if path.startswith(f"{out}/")), None)
            if folder is None:
                return self._in_git(path)
            self._look_for(folder)
            return None
        found = _content(self._caches, md5)
        if found is None and (found := self._in_git(path)) is None and not self._large(md5):
            self.missing[path] = md5
        return found

    def below(self, folder: str) -> list[str]:
        """Return the paths of the files in a folder."""
        self._look_for(folder)
        return sorted(path for path in self._outs if path.startswith(f"{folder}/"))

    def _look_for(self, folder: str) -> None:
        """Note a folder whose list is not on this machine."""
        md5 = self._outs.get(folder)
        if md5 and not storage.cached([*self._caches], md5):
            self.missing[folder] = md5

    def _in_git(self, path: str) -> bytes | None:
        return self._objects.read(f"{self._commit}:./{path}")

    def _large(self, md5: str) -> bool:
        return storage.cached([*self._caches], md5) is not None


def _listed(caches: Sequence[Path], md5: str) -> tuple[tuple[str, str], ...]:
    """Return the names and hashes of a folder's files; none where its list is not on this machine."""
    place = storage.cached([*caches], md5)
    return _entries(place) if place else ()


def _content(caches: Sequence[Path], md5: str) -> bytes | None:
    """Return the content of an object; None where it is not on this machine, or of over 10 MB."""
    place = storage.cached([*caches], md5)
    return _bytes(place) if place and place.stat().st_size <= _LARGEST else None


# An object never changes, and trials share many: the columns of a split, the plots of a stage that was restored.
@lru_cache(maxsize=4096)
def _entries(place: Path) -> tuple[tuple[str, str], ...]:
    return tuple((entry["relpath"], entry["md5"]) for entry in storage.manifest(place))


@lru_cache(maxsize=256)
def _bytes(place: Path) -> bytes:
    return place.read_bytes()
