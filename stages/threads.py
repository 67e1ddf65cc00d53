"""How many threads to work with."""

import os


def threads(parts: int) -> int:
    """Return how many threads are to share work of so many parts: one for each processor of this process at most."""
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(own or 1, parts))
