"""What becomes of entries: told to DVC, to whoever looks on, and to our own claims, in an order in which none is lost.

An entry is taken after it is claimed, has ended after its experiment is there,
and leaves DVC's stash after it has ended.
"""

import time

from trialtree.queue.claims import Claims
from trialtree.queue.messages import Message
from trialtree.queue.state import State
from trialtree.queue.telling import Teller
from trialtree.tracking import git

_DROP_EVERY = 1.0  # seconds between two times that DVC's stash is cleared


class Ledger:
    """Writes down what becomes of entries."""

    def __init__(self, state: State, claims: Claims, teller: Teller) -> None:
        self.state, self.teller = state, teller
        self._claims = claims
        self._ended: list[str] = []  # commits to be taken out of the stash
        self._dropped = 0.0  # time.monotonic() of the last time

    def take(self, message: Message) -> bool:
        """Take an entry out of the queue; False where another process has."""
        self._claims.add(message)
        if not self.state.take(message):
            self._claims.remove(message.rev)
            return False
        self.state.runs_in(message, self.state.root)
        self.log(message, f"Reproducing experiment '{message.name}'")
        return True

    def log(self, message: Message, text: str) -> None:
        """Add to the log of an entry what DVC would say there."""
        with self.state.log(message.rev).open("a", encoding="utf-8") as log:
            log.write(f"{text}\n")

    def done(self, message: Message, digest: str, seconds: float) -> None:
        """Note that an entry's experiment is there; `digest` is DVC's hash of its stages."""
        self.state.done(message, digest)
        self.teller.done(message, seconds)
        self._ended.append(message.rev)

    def failed(self, message: Message, reason: str) -> None:
        """Note that an entry has failed."""
        if git.run("cat-file", "-e", message.rev) is None:
            self.state.lost(message)
            self._claims.remove(message.rev)
            self.teller.failed(message, f"{reason}; it is taken out of the queue")
            return
        self.log(message, f"ERROR: failed to reproduce '{message.name}': {reason}")
        self.state.failed(message)
        self.teller.failed(message, f"{reason}; its log: dvc queue logs {message.name}")
        self._ended.append(message.rev)

    def back(self, message: Message) -> None:
        """Queue an entry again that has not ended."""
        self.state.back(message)
        self._claims.remove(message.rev)

    def drop(self, *, last: bool = False) -> None:
        """Take what has ended out of DVC's stash, now and then: once costs as much for one as for many."""
        now = time.monotonic()
        if not self._ended or (now - self._dropped < _DROP_EVERY and not last):
            return
        self._dropped = now
        if self.state.drop(self._ended):
            for rev in self._ended:
                self._claims.remove(rev)
            self._ended = []
