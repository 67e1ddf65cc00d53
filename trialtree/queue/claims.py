"""Who has taken which entry of the queue: so that what a killed process had taken is queued again.

.dvc/tmp/trialtree/queue/ID/ is a process's: a lock that it holds as long as it
lives, and a file for each entry that it has taken and not yet done with.
"""

import fcntl
import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Self

from trialtree.queue.messages import Message
from trialtree.queue.state import State
from trialtree.sweep.journal import SWEEPS

FOLDER = SWEEPS.parent / "queue"
_LOCK = "lock"


class Claims:
    """What this process has taken."""

    def __init__(self, root: Path) -> None:
        name = uuid.uuid4().hex[:12]
        self._folder = root / FOLDER / name
        made = self._folder.with_name(f".{name}")  # which nobody takes for that of a process that is gone
        made.mkdir(parents=True)
        self._lock = (made / _LOCK).open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        made.rename(self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            (self._folder / _LOCK).unlink()
            self._folder.rmdir()  # unless an entry is left in it
        self._lock.close()

    def add(self, message: Message) -> None:
        """Note that an entry is about to be taken."""
        partial = self._folder / f".{message.rev}"
        partial.write_text(json.dumps(asdict(message)), encoding="utf-8")
        partial.rename(self._folder / message.rev)

    def remove(self, rev: str) -> None:
        """Note that an entry is done with."""
        (self._folder / rev).unlink(missing_ok=True)


def mend(state: State) -> list[str]:
    """Put back into the queue what killed processes had taken, and return the names."""
    back: list[str] = []
    for folder in _left(state.root / FOLDER):
        ended = []
        for message in sorted(_taken(folder), key=lambda message: message.file):
            if state.has_ended(message.task):
                ended.append(message.rev)
            elif (state.processed / message.file).exists() and not state.runs_elsewhere(message.rev):
                state.back(message)
                back.append(message.name)
        if not ended or state.drop(ended):
            shutil.rmtree(folder, ignore_errors=True)
    return back


def _left(place: Path) -> Iterator[Path]:
    """Yield the folders of processes that are gone, each held against others meanwhile."""
    with suppress(FileNotFoundError):
        for folder in place.iterdir():
            if folder.name.startswith("."):
                continue
            with suppress(OSError), (folder / _LOCK).open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield folder


def _taken(folder: Path) -> Iterator[Message]:
    for path in folder.iterdir():
        if path.name != _LOCK and not path.name.startswith("."):
            with suppress(OSError, ValueError, TypeError):
                yield Message(**json.loads(path.read_bytes()))
