"""Ctrl-C while a sweep runs: once to finish what runs, twice to stop."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruptions:
    """What somebody has asked for by signals."""

    def __init__(self) -> None:
        self._count = 0
        self._told = False

    @property
    def some(self) -> bool:
        """Whether no trial is to begin any more."""
        return self._count > 0

    @property
    def stop(self) -> bool:
        """Whether nothing is to go on."""
        return self._count > 1

    def news(self) -> str | None:
        """Return what a person should know, once; not from within the signal, which may come amid a print."""
        if self._told or self._count != 1:
            return None
        self._told = True
        return "stopping: what runs is finished; Ctrl-C again stops that too"

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count the Ctrl-C of the block, and take an order to end for two.

        What is ignored stays so: a sweep under `nohup` outlives its terminal.
        """

        def count(number: int, _frame: Any) -> None:
            self._count += 1 if number == signal.SIGINT else 2

        before = {number: signal.getsignal(number) for number in _SIGNALS}
        kept = [number for number, handler in before.items() if handler in (signal.SIG_IGN, None)]
        try:
            for number in _SIGNALS:
                if number not in kept:
                    signal.signal(number, count)
            yield
        finally:
            for number, handler in before.items():
                if number not in kept:
                    signal.signal(number, handler)
