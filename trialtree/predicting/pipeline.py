"""Read, score and give back side by side, in the order of what is read.

Threads: Arrow, CatBoost and NumPy let others run while they compute. Of what
is read, only as much is in memory as keeps all threads busy.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def ordered(items: Iterator[A], work: Callable[[A], B], jobs: int) -> Iterator[B]:
    """Yield what `work` makes of each item, in their order, made by `jobs` threads; one more reads the items."""
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(jobs) as workers:
        coming: Future[A | None] = reader.submit(next, items, None)
        waiting: deque[Future[B]] = deque()
        try:
            while True:
                while coming is not None and len(waiting) <= jobs:
                    item = coming.result()
                    if item is None:
                        coming = None  # type: ignore[assignment]  # the items have ended
                        break
                    coming = reader.submit(next, items, None)
                    waiting.append(workers.submit(work, item))
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
