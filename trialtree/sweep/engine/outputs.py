"""The hash of a stage's output, as DVC has it, and the output in the cache."""

import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from stages.errors import UserError
from trialtree.sweep.engine.caching import Cache
from trialtree.sweep.engine.hashes import Hash, md5_of
from trialtree.sweep.engine.pipeline import Out

Ignored = Callable[[str], bool]  # of a path in the repository, by .dvcignore


class OutputError(UserError):
    """An output that a stage did not write."""


class OddOutputError(Exception):
    """An output that only DVC itself saves exactly: a link, an executable."""


def saved(tree: Path, out: Out, cache: Cache, ignored: Ignored, *, kept: bool) -> Hash:
    """Return the hash of an output after keeping it in the cache.

    One that is Git's is copied there where DVC keeps the stage's results (`kept`), so that they can be restored.

    Raises:
        OutputError: it is not there.
        OddOutputError: DVC itself must save it.
    """
    path = tree / out.path
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        raise OutputError(f"the stage did not write {out.path}, which dvc.yaml names as its output") from None
    if stat.S_ISDIR(mode):
        return _folder(path, out, cache, ignored, kept)
    _check(path, mode)
    return Hash(*_file(str(path), out, cache, kept))


def _file(path: str, out: Out, cache: Cache, kept: bool) -> tuple[str, int]:
    """Keep a file, and return its hash and size."""
    md5, size = md5_of(path)
    if out.cached:
        cache.keep(path, md5)
    elif kept:
        cache.copy_in(path, md5)
    return md5, size


def _check(path: str | Path, mode: int) -> None:
    if not stat.S_ISREG(mode) or mode & stat.S_IEXEC:
        raise OddOutputError(str(path))


def _folder(path: Path, out: Out, cache: Cache, ignored: Ignored, kept: bool) -> Hash:
    listed: list[dict[str, str]] = []
    total = 0
    for below, entry in _files(path, ""):
        if ignored(f"{out.path}/{below}"):
            continue
        _check(entry.path, entry.stat(follow_symlinks=False).st_mode)
        md5, size = _file(entry.path, out, cache, kept)
        listed.append({"md5": md5, "relpath": below})
        total += size
    listed.sort(key=lambda entry: entry["relpath"])
    text = json.dumps(listed, sort_keys=True).encode()
    md5 = cache.keep_text(text, ".dir") if out.cached or kept else cache.name_of(text, ".dir")
    return Hash(md5, total, len(listed))


def _files(path: str | Path, below: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield the files of a folder, each with its path below it."""
    with os.scandir(path) as entries:
        for entry in entries:
            name = f"{below}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path, f"{name}/")
            else:
                yield name, entry
