"""Clear what a killed DVC leaves: entries in .dvc/tmp/rwlock and half a dvc.lock, which stop it, and half-made objects.

DVC itself clears entries of processes that are gone, but takes one that init has not buried yet, or another that has
its number now, for the one that holds the lock, and stops at a file that was cut off while it was written. Half-made
objects in its cache it never clears.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from stages.files import replacing
from trialtree.branches import commands
from trialtree.tracking.locks import LOCK, TrialError, load

_FOLDER = Path(".dvc/tmp")
_FILE = _FOLDER / "rwlock"
_OBJECTS = Path(".dvc/cache/files/md5")  # of this repository alone; a cache that is shared has another place


def clear() -> None:
    """Drop what is of processes that are no DVC at work; another DVC's stays."""
    from dvc.lock import LockError, make_lock

    with suppress(LockError):  # a DVC is at work on it: it is no leftover
        if _FILE.exists():
            with make_lock(str(_FOLDER / "rwlock.lock"), tmp_dir=str(_FOLDER)):
                _clear()
        if LOCK.exists():
            with make_lock(str(_FOLDER / "lock"), tmp_dir=str(_FOLDER)):
                _mend_lock()
        if left := list(_OBJECTS.glob("??/.*.tmp")):
            with make_lock(str(_FOLDER / "lock"), tmp_dir=str(_FOLDER)):
                _remove(left)


def _mend_lock() -> None:
    """Put back the commit's dvc.lock where DVC was killed while it wrote it; what ran since is in its run cache."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    try:
        COMPILED_LOCKFILE_SCHEMA(load(LOCK.read_bytes()) or {})
    except (TrialError, Invalid):
        before = commands.attempt("show", f"HEAD:./{LOCK}")
        LOCK.unlink()
        if not before.returncode:
            LOCK.write_text(before.stdout, encoding="utf-8")


def _remove(left: Sequence[Path]) -> None:
    """Delete half-made objects, unless a DVC works in a folder of this repository, as experiments do."""
    import psutil

    ours = {process.pid for process in (psutil.Process(), *psutil.Process().parents())}
    top = Path.cwd()
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            named = {Path(word).name for word in process.cmdline()} & {"dvc", "trialtree", "trialtree.cli"}
            if named and process.pid not in ours and Path(process.cwd()).is_relative_to(top):
                return
    for path in left:
        path.unlink(missing_ok=True)


def _clear() -> None:
    try:
        content = json.loads(_FILE.read_text(encoding="utf-8"))
        kept = {
            "write": {path: info for path, info in content.get("write", {}).items() if _alive(info)},
            "read": {path: [i for i in infos if _alive(i)] for path, infos in content.get("read", {}).items()},
        }
    except (ValueError, AttributeError, TypeError, KeyError):
        _FILE.unlink()
        return
    kept["read"] = {path: infos for path, infos in kept["read"].items() if infos}
    if kept != content:
        with replacing(_FILE) as partial:
            partial.write_text(json.dumps(kept), encoding="utf-8")


def _alive(info: dict[str, Any]) -> bool:
    """Say whether a process runs and is a DVC or holds one."""
    import psutil

    try:
        process = psutil.Process(int(info["pid"]))
        words = " ".join(process.cmdline())
        return process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD) and (
            "dvc" in words or "trial" in words
        )
    except psutil.AccessDenied:
        return True  # another user's
    except psutil.NoSuchProcess:
        return False
