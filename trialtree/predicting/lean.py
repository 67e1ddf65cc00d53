"""Keep a process small and steady that predicts and does nothing else.

Arrow's own allocator keeps twice as much of what was given back as jemalloc
does, and is no quicker here.
"""

import os
from contextlib import suppress

from stages import threads
from trialtree.predicting.asked import MOST
from trialtree.serving import light

_DECAY = 100  # milliseconds after which what was given back leaves the process
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def begin() -> None:
    """Make this process one that predicts; before it imports NumPy."""
    # One thread of BLAS and OpenMP for each that scores: so figures are the endpoint's, and cores are taken once.
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    light.hide()
    import pyarrow as pa

    pa.set_cpu_count(threads.threads(MOST))  # else as many as OpenMP has
    with suppress(NotImplementedError):  # not every build of Arrow has it
        pa.set_memory_pool(pa.jemalloc_memory_pool())
        pa.jemalloc_set_decay_ms(_DECAY)
