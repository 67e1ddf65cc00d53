"""The processors of the machine, shared out between the slots of a sweep."""

import os
from collections.abc import Mapping

# By these, set before a library is imported, it settles how many threads it works with.
VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS", "LOKY_MAX_CPU_COUNT",
)  # fmt: skip


def processors() -> list[int]:
    """Return the numbers of the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def threads(slots: int) -> int:
    """Return how many threads each of so many slots is to work with."""
    return max(1, len(processors()) // slots)


def environment(given: Mapping[str, str], slots: int) -> dict[str, str]:
    """Return an environment that holds libraries to a slot's share; a smaller number that is given stays."""
    share = threads(slots)
    return {**given, **{name: str(min(share, _number(given.get(name), share))) for name in VARIABLES}}


def _number(text: str | None, default: int) -> int:
    return int(text) if text and text.isdigit() and int(text) else default


def of_slot(slot: int, slots: int) -> list[int]:
    """Return the processors of one slot: its own share; all where one slot has the machine for itself."""
    known = processors()
    share = threads(slots)
    first = slot * share % len(known)
    return known if slots == 1 else known[first : first + share]
