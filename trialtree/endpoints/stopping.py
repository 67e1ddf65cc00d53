"""End an endpoint, and delete it so that nothing is left: no process, no file."""

import os
import shutil
import signal
from contextlib import suppress
from typing import Any

from trialtree.endpoints.place import EndpointError, Place, digests, there
from trialtree.serving.registry import caching
from trialtree.serving.status import patience

_GRACE = 40.0  # seconds: what workers get to finish, and some for them to end
_AT_ONCE = 5.0
_SERVER, _WORKER = "trialtree.endpoints.running", "trialtree.serving.worker"


def delete(name: str, *, force: bool = False) -> str:
    """End an endpoint and remove its folder, and the models that no other has; return what was done.

    Raises:
        EndpointError: there is none.
    """
    place = there(name)
    with place.changing():
        stop(place, force=force)
        with suppress(FileNotFoundError):
            shutil.rmtree(place.folder)
        clear()
    return f"{name} is deleted"


def stop(place: Place, *, force: bool = False) -> None:
    """End the processes of an endpoint: after what they have begun, or at once.

    Raises:
        EndpointError: they do not end.
    """
    if (pid := place.pid()) is not None:
        _signal(pid, signal.SIGTERM)
        if force:
            _signal(pid, signal.SIGINT)
        if not _ended(place, pid, _AT_ONCE if force else _GRACE):
            _signal(pid, signal.SIGKILL)
        if not _ended(place, pid, _AT_ONCE):
            raise EndpointError(f"process {pid} of the endpoint {place.name} does not end")
    _end_left(place.status().get("workers", []))


def clear() -> None:
    """Remove the models on this disk that no endpoint has, and no server."""
    caching.clear(digests())


def _ended(place: Place, pid: int, seconds: float) -> bool:
    """Wait until a server has let go of its lock, and of everything else; say whether it has."""
    more = patience(seconds)
    while place.pid() == pid or _runs(pid):
        if not more():
            return place.pid() != pid  # else the number is another process's by now
    return True


def _runs(pid: int) -> bool:
    """Say whether a process runs; one that has ended may stay until its parent asks how."""
    import psutil

    try:
        process = psutil.Process(pid)
        said = process.cmdline()  # nothing of a process that is ending, which still has its locks
        return (not said or _SERVER in said) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _end_left(workers: list[dict[str, Any]]) -> None:
    """End workers whose server was killed, which would end by themselves when they have answered."""
    import psutil

    for worker in workers:
        with suppress(psutil.Error, TypeError):
            process = psutil.Process(worker["pid"])
            if _WORKER in process.cmdline():  # else the number is another process's by now
                process.kill()
                process.wait(_AT_ONCE)


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
