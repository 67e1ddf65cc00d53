"""The processors of the machine, shared out between the slots of a sweep."""

import os
from collections.abc import Mapping, Sequence

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


def of_slot(slot: int, slots: int, estimators: Sequence[str]) -> list[int]:
    """Return the processors of one slot: all, unless an estimator takes as many threads as it may use processors.

    So does CatBoost, which no variable holds to fewer. Where the system may
    choose, it lets nobody wait for a processor while another one is idle.
    """
    known, share = processors(), threads(slots)
    if slots == 1 or not any(name.startswith("catboost.") for name in estimators):
        return known
    first = slot * share % len(known)
    return known[first : first + share]
