"""Files in and out of DVC's cache: by reflink, hard link, symbolic link or copy, in the order of cache.type."""

import hashlib
import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from trialtree.sweep.engine.hashes import Hash

_READ_ONLY = 0o444  # DVC's mode of a cached file


class Cache:
    """DVC's cache of a repository."""

    def __init__(self, repo: Any) -> None:
        odb = repo.cache.local
        self.folder = Path(odb.path)  # …/files/md5
        self._folder = str(self.folder)
        self.runs = Path(repo.cache.legacy.path, "runs")
        self.types: list[str] = list(odb.cache_types)
        self.shared = bool(repo.config["cache"].get("shared"))

    def place(self, md5: str) -> Path:
        """Return where an object stands, or would stand."""
        return Path(self._at(md5))

    def _at(self, md5: str) -> str:
        return f"{self._folder}/{md5[:2]}/{md5[2:]}"

    def has(self, of: Hash) -> bool:
        """Say whether an object is there, a folder with all of its files."""
        if not self.place(of.md5).exists():
            return False
        return not of.is_folder or all(self.place(md5).exists() for _, md5 in self.listed(of.md5))

    def listed(self, md5: str) -> list[tuple[str, str]]:
        """Return the files of a cached folder: path below it, and hash."""
        entries = json.loads(self.place(md5).read_bytes())
        return [(entry["relpath"], entry["md5"]) for entry in entries]

    def keep_text(self, content: bytes, suffix: str = "") -> str:
        """Keep bytes as an object, and return its hash."""
        md5 = self.name_of(content, suffix)
        place = self.place(md5)
        if not place.exists():
            partial = self._partial(place)
            partial.write_bytes(content)
            partial.chmod(_READ_ONLY)
            partial.rename(place)
        return md5

    @staticmethod
    def name_of(content: bytes, suffix: str = "") -> str:
        """Return the hash that bytes have as an object."""
        return hashlib.md5(content, usedforsecurity=False).hexdigest() + suffix

    def keep(self, path: str, md5: str) -> None:
        """Keep a file as an object; the file is a link to it then, where links are allowed."""
        place = self._at(md5)
        if os.path.lexists(place):
            return
        for kind in self.types:
            with suppress(OSError):
                self._kept(kind, path, place)
                return
        self._kept("copy", path, place)

    def _kept(self, kind: str, path: str, place: str) -> None:
        """Put a file into the cache in one way."""
        if kind == "hardlink":
            self._linked(path, place)
            return
        partial = self._partial(Path(place))
        if kind == "symlink":
            shutil.move(path, partial)
        else:
            _copied(kind, path, partial)
        partial.chmod(_READ_ONLY)
        partial.rename(place)
        if kind == "symlink":
            Path(path).symlink_to(place)

    def _linked(self, path: str, place: str) -> None:
        """Make a file an object: read-only before it is one, so that no object is ever another."""
        Path(path).chmod(_READ_ONLY)
        with suppress(FileExistsError):  # another process was faster
            try:
                os.link(path, place)
            except FileNotFoundError:
                Path(place).parent.mkdir(parents=True, exist_ok=True)
                os.link(path, place)

    def copy_in(self, path: str, md5: str) -> None:
        """Keep a file that stays Git's: a copy of it."""
        if not os.path.lexists(self._at(md5)):
            self._kept("copy", path, self._at(md5))

    def link(self, md5: str, path: Path, *, copied: bool = False) -> None:
        """Put a cached file at a path, in the place of whatever is there; `copied`: as a file of its own."""
        remove(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        place = self.place(md5)
        for kind in () if copied else self.types:
            with suppress(OSError):
                if kind == "hardlink":
                    os.link(place, path)
                elif kind == "symlink":
                    path.symlink_to(place)
                else:
                    _copied(kind, place, path)
                return
        remove(path)
        shutil.copyfile(place, path)

    def checkout(self, of: Hash, path: Path, *, copied: bool = False) -> None:
        """Put a cached file or folder at a path, in the place of whatever is there."""
        if not of.is_folder:
            self.link(of.md5, path, copied=copied)
            return
        remove(path)
        path.mkdir(parents=True)
        for below, md5 in self.listed(of.md5):
            self.link(md5, path / below, copied=copied)

    def _partial(self, place: Path) -> Path:
        """Return a name beside an object's place for what is not whole yet."""
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = place.with_name(f".{place.name[:8]}.{os.getpid()}.tmp")
        partial.unlink(missing_ok=True)
        return partial


def remove(path: str | Path) -> None:
    """Remove a file, a link or a folder, if it is there."""
    try:
        os.unlink(path)  # noqa: PTH108  # dozens of times a trial
    except FileNotFoundError:
        pass
    except OSError:  # a folder; Linux and macOS have different errors for it
        with os.scandir(path) as entries:
            for entry in entries:
                remove(entry.path)
        os.rmdir(path)  # noqa: PTH106  # the same


def _copied(kind: str, source: str | Path, target: Path) -> None:
    """Copy a file, sharing its blocks where the file system can."""
    if kind == "reflink":
        from dvc_objects.fs.system import reflink

        try:
            reflink(os.fspath(source), os.fspath(target))
        except (OSError, NotImplementedError) as error:
            target.unlink(missing_ok=True)
            raise OSError(str(error)) from None
        return
    shutil.copyfile(source, target)
