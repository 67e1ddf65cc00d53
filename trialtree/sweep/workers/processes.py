"""The processes of a session: found, measured and ended together.

A stage server leads a session of its own. Whatever a stage starts is in it,
also what has a process group of its own, unless it calls setsid itself.
"""

import ctypes
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
_PATIENCE = 2.0  # seconds that killed processes have to be gone
_PROCESSES = Path("/proc")
_LINUX = sys.platform == "linux"


def end_with_parent(parent: int) -> None:
    """Have the system end this process with the one that forked it, where it can (Linux)."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was quicker
        os._exit(0)


def adopt_orphans() -> None:
    """Become the parent of whatever this process's children leave behind, where the system can do that (Linux)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if _LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def members(session: int) -> list[int]:
    """Return the living processes of a session."""
    return [pid for pid in _all() if _in(session, pid) and _alive(pid)]


def end(session: int) -> None:
    """Kill every process of a session, and return when none is left."""
    until = time.monotonic() + _PATIENCE
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(session, signal.SIGKILL)
    while (left := members(session)) and time.monotonic() < until:
        for pid in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.001)


def children(parent: int) -> list[int]:
    """Return the living children of a process (Linux)."""
    return [pid for pid in _all() if _LINUX and _alive(pid) and _stat(pid)[1] == b"%d" % parent]


def _all() -> list[int]:
    """Return all processes."""
    if _LINUX:
        return [int(name) for name in os.listdir(_PROCESSES) if name.isdigit()]  # noqa: PTH208  # half the time
    import psutil

    return list(psutil.pids())


def _in(session: int, pid: int) -> bool:
    try:
        return os.getsid(pid) == session
    except OSError:
        return False


def _alive(pid: int) -> bool:
    """Say whether a process runs: one that only waits for its parent to ask does not."""
    return not _LINUX or _stat(pid)[0] not in (b"Z", b"X", b"")


def _stat(pid: int) -> list[bytes]:
    """Return what the system says of a process: its state, its parent; empty where it is gone."""
    try:
        return (_PROCESSES / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return [b"", b""]


def memory(session: int, most: int) -> int:
    """Return the bytes of memory that a session takes, exactly only where that may be more than `most`.

    What forked processes share is counted once between them (Linux).
    """
    pids = members(session)
    resident = sum(map(_resident, pids))
    return resident if resident <= most or not _LINUX else sum(map(_own, pids))


def _resident(pid: int) -> int:
    """Return the resident size of a process, what it shares included."""
    if not _LINUX:
        import psutil

        with suppress(psutil.Error):
            return int(psutil.Process(pid).memory_info().rss)
        return 0
    with suppress(OSError, IndexError):
        return int((_PROCESSES / str(pid) / "statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _own(pid: int) -> int:
    """Return the proportional size of a process: a page that n share counts 1/n."""
    with suppress(OSError):
        for line in (_PROCESSES / str(pid) / "smaps_rollup").read_bytes().splitlines():
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    return _resident(pid)
