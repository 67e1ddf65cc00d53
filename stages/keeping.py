"""Keep what was downloaded, once, under .dvc/tmp/trialtree/sources/ of the repository.

Each source has a folder there, named by its key:

    .lock          held by the process that reads or changes the folder
    work/          a download under way, or cut off
    ID/            the files of a complete download
    source.json    what is known of the files of each ID, which is the newest, and which was last used by its pin

The one last used stays until another one is, so that looking for changes
takes nothing away.
"""

import errno
import fcntl
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from stages.content import File, hashed, sha256
from stages.files import replacing
from stages.tables import DataError

_REFUSED = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)  # by the disk
_LOCK = ".lock"
_NOTE = "source.json"
_WORK = "work"

# Downloads into a folder; None where the files it is given still are those of the source.
Download = Callable[[Path, Sequence[File] | None], Sequence[File] | None]


def repository() -> Path:
    """Return the repository's top folder; of an experiment in a temporary copy, that of the repository it is of."""
    return Path(os.environ.get("DVC_ROOT") or ".").resolve()


def root() -> Path:
    """Return the folder of all that is kept."""
    return repository() / ".dvc" / "tmp" / "trialtree" / "sources"


@contextmanager
def held(keys: Sequence[str]) -> Iterator[None]:
    """Keep every other process from these sources until the block ends; afterwards no other source is kept."""
    with ExitStack() as stack:
        for key in sorted(set(keys)):  # one order for all, so that no two wait for each other
            stack.enter_context(_locked(root() / key))
        yield
        if keys:
            _forget_all_but(keys)


def versions(key: str, hash_: Callable[[Path], str] = sha256) -> list[list[File]]:
    """Return the files of the download last used, and of the newest if that is another; hashed, and none damaged."""
    folder = root() / key
    note = _read(folder)
    found = []
    for name in dict.fromkeys((note["used"], note["newest"])):
        listed = note["downloads"].get(name, [])
        known = [File(each["shown"], folder / name / each["name"], each["facts"], hash_) for each in listed]
        with suppress(OSError):
            if known and hashed(known) == known:
                found.append(known)
    return found


def use(key: str, files: Sequence[File]) -> None:
    """Keep only the download that the source's are of, among these files."""
    folder = root() / key
    name = next(f.path.relative_to(folder).parts[0] for f in files if f.path.is_relative_to(folder))
    note = _read(folder)
    if note["used"] != name or len(note["downloads"]) > 1:
        _write(folder, {"used": name, "newest": name, "downloads": {name: note["downloads"][name]}})


def refreshed(key: str, shown: str, known: Sequence[File] | None, download: Download) -> list[File]:
    """Return the files of a source as they are now: `known`, or those of a new download.

    Raises:
        DataError: they cannot be read, or not be written; nothing half-made stays then, but what can be gone on with.
    """
    folder = root() / key
    work = folder / _WORK
    work.mkdir(exist_ok=True)
    try:
        found = download(work, known)
        if found is None:
            return list(known or ())
        return _keep(folder, work, hashed(found))
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        shutil.rmtree(work, ignore_errors=True)
        raise DataError(
            f"{shown}: cannot be kept in {folder.parent}: {error.strerror or error}; "
            "make room or mend that, then run it again"
        ) from None


def _keep(folder: Path, work: Path, found: Sequence[File]) -> list[File]:
    """Make a finished download the newest."""
    name = uuid.uuid4().hex  # never seen outside this folder
    note = _read(folder)
    used = {note["used"]: note["downloads"][note["used"]]} if note["used"] else {}
    listed = [{"name": str(f.path.relative_to(work)), "shown": f.shown, "facts": dict(f.facts)} for f in found]
    for left in set(work.rglob("*")) - {f.path for f in found}:  # of an earlier download that was cut off
        if left.is_file():
            left.unlink()
    work.rename(folder / name)
    _write(folder, {"used": note["used"], "newest": name, "downloads": {**used, name: listed}})
    return [File(f.shown, folder / name / f.path.relative_to(work), f.facts, f.hash) for f in found]


def _read(folder: Path) -> dict[str, Any]:
    """Return the note of a source's downloads; an empty one where there is none, or none that can be read."""
    try:
        note = json.loads((folder / _NOTE).read_text(encoding="utf-8"))
        if note["newest"] in note["downloads"] and (note["used"] is None or note["used"] in note["downloads"]):
            return dict(note)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return {"used": None, "newest": None, "downloads": {}}


def _write(folder: Path, note: dict[str, Any]) -> None:
    """Replace the note of a source's downloads, and remove those that are not in it."""
    with replacing(folder / _NOTE) as partial:
        partial.write_text(json.dumps(note, indent=1), encoding="utf-8")
    for old in folder.iterdir():
        if old.is_dir() and old.name not in note["downloads"]:
            shutil.rmtree(old, ignore_errors=True)


def linked(found: Sequence[File], folder: Path) -> list[File]:
    """Return the files as files of `folder`, which stay when what is kept here goes."""
    result = []
    for place, file in enumerate(found):
        path = folder / f"source-{place:05}{''.join(file.path.suffixes[-2:])}"
        try:
            path.hardlink_to(file.path)
        except OSError:  # another disk, or a file system without links
            shutil.copyfile(file.path, path)
        result.append(File(file.shown, path, file.facts, file.hash))
    return result


def _locked(folder: Path, wait: bool = True) -> IO[str]:
    """Return the file that locks a folder as long as it is open; the folder is made if need be.

    Raises:
        BlockingIOError: another process has the lock, and it is not to be waited for.
    """
    while True:
        with suppress(FileNotFoundError):
            folder.mkdir(parents=True, exist_ok=True)
            file = (folder / _LOCK).open("a")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except OSError:
                file.close()
                raise
            if _is(file, folder / _LOCK):
                return file
            file.close()  # another one removed it before it was locked


def _is(file: IO[str], path: Path) -> bool:
    """Say whether an open file is the one at `path`."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _forget_all_but(keys: Sequence[str]) -> None:
    """Remove what is kept of other sources, unless a process is at it."""
    for folder in root().iterdir():
        if folder.is_dir() and folder.name not in keys:
            with suppress(OSError), _locked(folder, wait=False):
                shutil.rmtree(folder, ignore_errors=True)
