"""The messages of DVC's queue: a file for each `dvc exp run --queue`, as celery's broker has them."""

import base64
import fcntl
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TASK = "dvc.repo.experiments.queue.tasks.run_exp"
_ENDING = ".celery.msg"  # of messages to a worker; others are to and from its control


@dataclass(frozen=True)
class Message:
    """An entry as DVC queued it."""

    file: str  # name in the broker's folders
    task: str  # celery's id
    entry: Mapping[str, Any]  # DVC's own `QueueEntry`
    copied: Sequence[str]  # paths that Git does not know and the experiment needs: -C
    said: str | None  # commit message: -m

    @property
    def rev(self) -> str:
        """The commit in DVC's stash."""
        return str(self.entry["stash_rev"])

    @property
    def name(self) -> str:
        """The experiment's name."""
        return str(self.entry["name"])


def queued(folder: Path, known: Mapping[str, object]) -> list[Message]:
    """Return the messages of a folder in DVC's order, without those that are known by their file."""
    try:
        names = sorted(path.name for path in folder.iterdir())
    except FileNotFoundError:
        return []
    new = (name for name in names if name.endswith(_ENDING) and name.count(".") == 2 and name not in known)
    return [message for message in map(_read, (folder / name for name in new)) if message]


def _read(path: Path) -> Message | None:
    """Return a message; None for one that is gone, is just being written, or is none of DVC's queue."""
    with suppress(OSError, ValueError, KeyError, TypeError, IndexError):
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)  # the broker writes it under a lock
            said = json.loads(file.read())
        if said["headers"]["task"] != _TASK:
            return None
        encoded = said["properties"].get("body_encoding") == "base64"
        args, options, _ = json.loads(base64.b64decode(said["body"]) if encoded else said["body"])
        entry = options.get("entry_dict") or args[0]
        copied, message = options.get("copy_paths") or (), options.get("message")
        found = Message(path.name, said["headers"]["id"], entry, tuple(copied), message)
        return found if found.rev and found.name else None
    return None
