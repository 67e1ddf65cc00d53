"""Publish the trials of a sweep as they end: the process beside the driver.

    python -m trialtree.sweep.publishing FOLDER

Reads   FOLDER/journal.jsonl, which grows; a line on stdin, or its end, when nothing comes any more
Writes  runs of MLflow; lines on stdout: {"published": …, "of": …, "where": …}, {"note": …}

A store that fails is tried again as long as the sweep runs, and once at the end.
"""

import json
import os
import select
import sys
from contextlib import suppress
from pathlib import Path

from trialtree.sweep.publishing.sweeping import Sweeping
from trialtree.tracking import odb
from trialtree.tracking.stores import StoreError

_NICE = 5  # the trials go first; on two busy cores this still gets a quarter of one, and keeps up
_EVERY = 1.0  # seconds between lots
_LONGEST = 60.0  # seconds between tries of a store that fails
# A store that hangs is found out sooner than where nobody waits.
_SETTINGS = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}


class Driver:
    """The process that started this one."""

    def __init__(self) -> None:
        # Whatever else prints must not come between.
        self._out = os.fdopen(os.dup(1), "wb", buffering=0)
        os.dup2(2, 1)
        self._told: set[str] = set()

    def leaves_within(self, seconds: float) -> bool:
        """Wait for its word that nothing comes any more, or its end, and say whether that came."""
        return bool(select.select([0], [], [], seconds)[0])

    def tell(self, **message: object) -> None:
        """Tell it something, if it still listens."""
        with suppress(OSError):
            self._out.write(json.dumps(message).encode() + b"\n")

    def note(self, line: str) -> None:
        """Tell it a line for a person, once."""
        if line not in self._told:
            self._told.add(line)
            self.tell(note=line)


def follow(driver: Driver, sweeping: Sweeping) -> None:
    """Publish until the driver has left."""
    pause = 0.0
    while not driver.leaves_within(pause) and sweeping.driven:
        try:
            for _ in sweeping.publish():
                pass
            pause = _EVERY
        except StoreError as error:
            driver.note(str(error))
            pause = min(2 * max(pause, _EVERY), _LONGEST)
        for line in sweeping.notes():
            driver.note(line)


def finish(driver: Driver, sweeping: Sweeping) -> None:
    """Publish what is left, and say how the sweep ended."""
    try:
        for done in sweeping.finish():
            driver.tell(published=done, of=sweeping.ended)
    except StoreError as error:
        driver.note(str(error))
    for line in sweeping.notes():
        driver.note(line)
    driver.tell(published=sweeping.published, of=sweeping.ended, where=sweeping.where if sweeping.published else None)


def main() -> None:
    """Publish a sweep."""
    with suppress(OSError):
        os.nice(_NICE)
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    driver = Driver()
    with odb.objects() as objects:
        sweeping = Sweeping(Path(sys.argv[1]), objects)
        sweeping.load()
        follow(driver, sweeping)
        finish(driver, sweeping)
    os._exit(0)  # the driver waits for the end, and Python takes its time to forget MLflow


if __name__ == "__main__":
    main()
