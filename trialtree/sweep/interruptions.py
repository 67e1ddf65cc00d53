"""Ctrl-C while a sweep or the queue runs: once to finish what runs, twice to stop."""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruptions:
    """What somebody has asked for by signals."""

    def __init__(self, told: str = "stopping: what runs is finished; Ctrl-C again stops that too") -> None:
        self._text = told
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

    def news(self) -> list[str]:
        """Return what a person should know, once; not from within the signal, which may come amid a print."""
        if self._told or self._count != 1:
            return []
        self._told = True
        return [self._text]

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count the Ctrl-C of the block, and take an order to end for two.

        What is ignored stays so: what runs under `nohup` outlives its terminal.
        """

        def count(number: int, _frame: Any) -> None:
            self._count += 1 if number == signal.SIGINT else 2

        with _handled(_SIGNALS, count):
            yield


@contextmanager
def as_ctrl_c() -> Iterator[None]:
    """Take an order to end for a Ctrl-C, in the block: what was begun is cleaned up."""

    def interrupt(_number: int, _frame: Any) -> None:
        raise KeyboardInterrupt

    with _handled(_SIGNALS[1:], interrupt):
        yield


@contextmanager
def _handled(numbers: Sequence[signal.Signals], how: Callable[[int, Any], None]) -> Iterator[None]:
    """Handle signals, but for those that are ignored."""
    before = {number: signal.getsignal(number) for number in numbers}
    taken = {number: old for number, old in before.items() if old not in (signal.SIG_IGN, None)}
    try:
        for number in taken:
            signal.signal(number, how)
        yield
    finally:
        for number, old in taken.items():
            signal.signal(number, old)
