"""Ctrl-C: once to finish what runs, twice to stop it."""

import signal
from collections.abc import Callable
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruptions:
    """Counts the Ctrl-C of a block, and takes an order to end for two."""

    def __init__(self, told: Callable[[], None]) -> None:
        self.count = 0
        self._told = told  # called at the first
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._take) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _take(self, number: int, _frame: Any) -> None:
        self.count += 1 if number == signal.SIGINT else 2
        if self.count == 1:
            self._told()
