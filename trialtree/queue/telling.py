"""What a person or a script sees of a queue that is run: a line an entry, or JSON."""

import json
import time
from typing import Any

from stages import progress
from trialtree.queue.messages import Message
from trialtree.sweep.screen import words
from trialtree.sweep.screen.base import Kind, Output


class Teller:
    """Tells what comes of entries."""

    def __init__(self, kind: Kind) -> None:
        self._output, self._json = Output(), kind == "json"
        self._began = time.monotonic()
        self.count = self.failures = 0
        self.unpublished = 0  # experiments that are not in MLflow

    def note(self, text: str) -> None:
        """Tell something else."""
        self._say(text, "note", text=text)

    def done(self, message: Message, seconds: float) -> None:
        """Tell that an experiment is there."""
        self.count += 1
        self._say(f"{message.name}: done in {seconds:.2f} s", "done", **_known(message), seconds=round(seconds, 3))

    def failed(self, message: Message, reason: str) -> None:
        """Tell that an entry has failed."""
        self.failures += 1
        self._say(f"{message.name}: failed: {reason}", "failed", **_known(message), reason=reason)

    def end(self, left: int, *, stopped: bool) -> None:
        """Tell what came of all; `left` entries are queued still."""
        seconds = time.monotonic() - self._began
        counts = {"done": self.count, "failed": self.failures, "queued": left}
        said = ", ".join(f"{count} {state}" for state, count in counts.items() if count or state == "done")
        text = f"{words.count(self.count + self.failures, 'experiment')} in {progress.duration(seconds)}: {said}"
        if stopped:
            text += "; `trialtree queue run` goes on"
        elif self.count:
            text += "; `dvc exp show` shows them"
        if self.unpublished:
            ran = words.count(self.unpublished, "experiment")
            text += f"\n{ran} without register: not in MLflow yet; `trialtree track --all` publishes them"
        self._say(text, "left" if stopped else "finished", **counts, seconds=round(seconds, 3))

    def _say(self, text: str, event: str, /, **more: Any) -> None:
        self._output.line(json.dumps({"event": event, **more}) if self._json else text)


def _known(message: Message) -> dict[str, str]:
    return {"name": message.name, "rev": message.rev}
