"""The driver's side of one stage server: what runs there, and how it ended."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from trialtree.sweep.workers import jobs, processes
from trialtree.sweep.workers.jobs import End, Finished, Job, Limits
from trialtree.sweep.workers.wire import Wire

_NO_ANSWER: Mapping[str, Any] = {}


class Slot:
    """A place for one job at a time."""

    def __init__(self, number: int, processors: Sequence[int]) -> None:
        self.number = number
        self.processors = list(processors)
        self.order = -1  # number of the order to fork the server
        self.wire: Wire | None = None  # to the server, or to the one that is asked for
        self.pid: int | None = None  # of the server, once it has said so
        self.trial: int | None = None  # of the server's last job
        self.served = 0  # jobs of the server
        self.spent: str | None = None  # why the server should run no other job
        self.job: Job | None = None
        self.sent = False  # the server has the job
        self.deadline: float | None = None  # by time.monotonic()
        self._begun = 0.0
        self._from = 0  # where the job's part of the log begins

    def give(self, job: Job) -> None:
        """Take a job, for the server to begin when it can."""
        self.job, self.sent, self.deadline = job, False, None

    def fileno(self) -> int:
        """Return the descriptor of the server's socket, below 0 without one."""
        return -1 if self.wire is None else self.wire.fileno()

    def late(self, limits: Limits, now: float) -> str | None:
        """Return why the job is to be ended at a time, or None."""
        if self.deadline is None or now < self.deadline:
            return None
        return f"timeout after {limits.seconds:g} s"

    def fat(self, limits: Limits) -> str | None:
        """Return why the job is to be ended for its memory, or None."""
        if not self.sent or self.pid is None or limits.memory is None:
            return None
        took = processes.memory(self.pid, limits.memory)
        if took <= limits.memory:
            return None
        return f"took {jobs.in_words(took)}, limits.memory is {jobs.in_words(limits.memory)}"

    def begin(self, job: Job, commands: list[list[str]], seconds: float | None) -> None:
        """Send the job to the server; its trial has so many seconds from its beginning.

        Raises:
            OSError: the server is gone.
        """
        if self.wire is None:
            return
        self._begun, self._from = time.monotonic(), jobs.size(job.log)
        self.wire.send(jobs.message(job, commands))
        began = self._begun if job.began is None else job.began
        self.deadline = None if seconds is None else began + seconds
        self.sent, self.trial, self.served = True, job.trial, self.served + 1

    def leave(self) -> None:
        """Let go of the server, which ends by that; the importer ends what it leaves behind."""
        if self.spent and self.pid is not None:
            processes.end(self.pid)
        if self.wire is not None:
            self.wire.close()
        self.wire = self.pid = self.trial = self.spent = None
        self.order, self.served = -1, 0

    def answered(self, answer: Mapping[str, Any]) -> Finished | None:
        """Return how the job ended, by the server's answer."""
        self.spent = answer["spent"] or ("a failure" if answer["status"] else None)
        return self._finished("failed" if answer["status"] else "done", answer["status"], answer["reason"], answer)

    def died(self, status: int) -> Finished | None:
        """Return how the job ended whose server is gone, by the server's exit status."""
        if not self.sent:
            return self.ended("lost", f"its server {jobs.told(status)} before it began", None)
        # A stage may end its process at once: its status is the stage's.
        return self._finished("crashed" if status < 0 else "failed" if status else "done", status, None, _NO_ANSWER)

    def ended(self, end: End, reason: str, status: int | None) -> Finished | None:
        """Return how the job ended that was not let run to its end."""
        return self._finished(end, status, reason, _NO_ANSWER)

    def _finished(self, end: End, status: int | None, reason: str | None, took: Mapping[str, Any]) -> Finished | None:
        job, self.job, self.deadline = self.job, None, None
        sent, self.sent = self.sent, False
        if job is None:
            return None
        if status and reason is None:
            said = jobs.last_line(job.log, self._from)
            reason = f"{job.stage} {jobs.told(status)}{f': {said}' if said else ''}"
        passed = time.monotonic() - self._begun if sent else 0.0
        return Finished(
            self.number, job, end, status, reason, took.get("seconds", passed), took.get("cpu", 0.0),
            took.get("peak", 0), tuple(took.get("imported", ())),
        )  # fmt: skip
