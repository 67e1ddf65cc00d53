"""Which process of this machine made something, and whether it still runs."""

import os
import platform
from pathlib import Path


def host() -> str:
    """Return the name of this machine."""
    return platform.node() or "unknown"


def started(pid: int) -> str:
    """Return when a process began, as no other process of that number did; empty where the system does not say."""
    fields = _fields(pid)
    return fields[19] if len(fields) > 19 else ""  # in clock ticks since the machine's start


def runs(pid: int, begun: str) -> bool:
    """Say whether the process with this number that began then still runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's
    fields = _fields(pid)
    return not fields or (fields[0] != "Z" and started(pid) == begun)


def _fields(pid: int) -> list[str]:
    """Return what Linux says of a process, from its state on; nothing elsewhere."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()  # the name before may hold anything
