"""The workers of a server together: one plan for all of them, and another process where one dies."""

import selectors
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from trialtree.serving import events, pool, status
from trialtree.serving.pool import Worker
from trialtree.serving.settings import Plan, Settings


@dataclass(frozen=True)
class Fault:
    """What went wrong with workers."""

    line: str
    ends: bool = False  # the server, which never was ready
    mend: bool = False  # the files of the plan's models may be damaged


class Team:
    """The workers of a server."""

    def __init__(
        self, count: int, command: Sequence[str], listen: int, settings: Settings, selector: selectors.BaseSelector
    ) -> None:
        self.workers = [Worker(number, command, listen) for number in range(count)]
        self.settings = settings
        self.plan: Plan | None = None
        self.generation = 0  # by which all workers answer
        self.faults: list[Fault] = []  # since they were last taken
        self._before: Plan | None = None  # what is gone back to where workers refuse the plan
        self._selector = selector
        self._stopping = False

    @property
    def alive(self) -> bool:
        """Whether a process is left."""
        return any(worker.process is not None for worker in self.workers)

    @property
    def ready(self) -> bool:
        """Whether a worker answers."""
        return any(worker.state == "ready" for worker in self.workers)

    @property
    def next_start(self) -> float | None:
        """When, on the monotonic clock, a worker is to be started."""
        times = [worker.again for worker in self.workers if worker.process is None]
        return min(times) if times and not self._stopping else None

    def start(self) -> None:
        """Start the workers whose time has come."""
        now = time.monotonic()
        for worker in self.workers:
            if not self._stopping and worker.process is None and worker.again <= now:
                self._selector.register(worker.start(), selectors.EVENT_READ, worker)
                self._brief(worker)

    def change(self, plan: Plan) -> None:
        """Give a plan to all workers."""
        self._before, self.plan = self.plan, replace(plan, generation=self.plan.generation + 1 if self.plan else 1)
        events.log("plan", generation=self.plan.generation, models=shown(self.plan))
        for worker in self.workers:
            if worker.state in ("told", "ready"):
                self._tell(worker, do="plan", plan=self.plan.as_json(), settings=self.settings.as_json())
            self._brief(worker)

    def stop(self, grace: float) -> None:
        """Have all workers end, once they have answered what they have begun."""
        self._stopping = True
        for worker in self.workers:
            if worker.state == "starting":  # nobody has asked it anything
                worker.kill()
            self._tell(worker, do="stop", grace=grace)

    def kill(self) -> None:
        """End all workers at once."""
        for worker in self.workers:
            worker.kill()

    def attend(self, worker: Worker) -> None:
        """Send a worker what it takes now, and do what follows from what it has said."""
        worker.send()
        self._watch(worker)
        self.hear(worker)

    def hear(self, worker: Worker) -> None:
        """Do what follows from what a worker has said."""
        for said in worker.heard():
            match said.get("said"):
                case "ready" | "planned":
                    worker.state, worker.generation = "ready", said["generation"]
                    events.log(said["said"], worker=worker.number, pid=worker.pid, generation=worker.generation)
                    self._reached()
                case "failed":
                    self._refused(worker, said["generation"], str(said.get("error", "")))
        if worker.gone and worker.control is not None:
            self._selector.unregister(worker.control)
            worker.silence()

    def bury(self) -> None:
        """Note which workers have died."""
        for worker in self.workers:
            if not worker.dead():
                continue
            self.hear(worker)  # its last words
            if worker.control is not None:
                self._selector.unregister(worker.control)
            pid, state, refused = worker.pid, worker.state, worker.refused
            how = worker.buried()
            pool.forget(self.settings.metrics_folder, pid)
            events.log("worker ended", worker=worker.number, pid=pid, how=how)
            if self._stopping or refused:
                continue
            if self.generation:
                self._fault(f"worker {pid} ended ({how}) while {state}; another takes its place")
            else:
                self._fault(f"a worker ended before it was ready: {how}", ends=True)
        self._reached()

    def _brief(self, worker: Worker) -> None:
        """Tell a new worker its settings and models, once they are known."""
        if self.plan is not None and worker.state == "starting":
            self._tell(worker, do="start", settings=self.settings.as_json(), plan=self.plan.as_json())
            worker.state = "told"

    def _tell(self, worker: Worker, **message: Any) -> None:
        """Send a message; what does not go at once goes when the worker takes it."""
        worker.tell(**message)
        self._watch(worker)

    def _watch(self, worker: Worker) -> None:
        """Be woken when a worker takes more, as long as there is more."""
        if worker.control is not None:
            write = selectors.EVENT_WRITE if worker.waiting else 0
            self._selector.modify(worker.control, selectors.EVENT_READ | write, worker)

    def _reached(self) -> None:
        """Note when all workers that run answer by the plan."""
        running = [worker for worker in self.workers if worker.process is not None]
        if self.plan is None or self.generation == self.plan.generation or not running:
            return
        if all(worker.generation == self.plan.generation for worker in running):
            self.generation = self.plan.generation
            events.log("serving", generation=self.generation, models=shown(self.plan))

    def _refused(self, worker: Worker, generation: int, line: str) -> None:
        """Go back to the plan before, where a worker cannot load the new one."""
        if worker.state == "told":  # at its start, which it does not outlive
            worker.refused = True
            self._fault(line, ends=not self.generation, mend=True)
            return
        self._fault(line)
        if self.plan and self._before and generation == self.plan.generation:
            self.change(self._before)
            self._before = None

    def _fault(self, line: str, **kind: Any) -> None:
        self.faults.append(Fault(line, **kind))


def shown(plan: Plan) -> str:
    """Return the models of a plan in one line."""
    return ", ".join(status.label(model.as_json()) for model in plan.models)
