"""What answers requests: the models of a plan under limits; what is kept of an answer, and what its shadows say."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import BoundedSemaphore
from types import ModuleType
from typing import Any

import numpy as np

from trialtree.serving import access, events
from trialtree.serving.faults import Refused
from trialtree.serving.keeping import Keeper
from trialtree.serving.metrics import Metrics
from trialtree.serving.protocols.base import Question, Request
from trialtree.serving.serving import Served, Serving
from trialtree.serving.settings import Settings

_SHADOWS = 8  # requests that wait for a shadow at most


@dataclass(frozen=True)
class Answered:
    """A request that was answered."""

    served: Served
    request: Request
    id: str
    question: Question
    figures: Any


@dataclass
class Endpoint:
    """What answers requests: a plan of models under limits. Its parts are replaced, never changed."""

    settings: Settings
    serving: Serving
    metrics: Metrics
    keeper: Keeper | None = None
    stopping: bool = False
    running: int = 0
    pace: dict[str, float] = field(default_factory=dict)  # seconds of a byte, by model
    shadows: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(_SHADOWS))
    workers: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2, "predict"))

    def __post_init__(self) -> None:
        """Know the keys."""
        self.keys = access.Keys(self.settings.keys, self.settings.keyed)

    def take(self, serving: Serving, settings: Settings) -> None:
        """Answer by another plan, and under other limits and keys, from now on."""
        self.serving, self.settings = serving, settings
        self.keys = access.Keys(settings.keys, settings.keyed)
        self.metrics.planned(serving.plan)

    def afterwards(self, protocol: ModuleType, done: Answered) -> None:
        """Keep a request that was answered, and ask the shadows too."""
        if self.keeper and self.keeper.drawn():
            if done.question.probabilities:  # what is predicted has to be asked for
                self.workers.submit(self._keep, self.keeper, done)
            else:
                self._keep(self.keeper, done)
        for shadow in self.serving.shadows:
            if self.shadows.acquire(blocking=False):
                self.workers.submit(self._compare, protocol, shadow, done)
            else:
                self.metrics.shadow_missed.labels(shadow.label).inc()

    def _keep(self, keeper: Keeper, done: Answered) -> None:
        """Keep a request, with the predictions also where probabilities were asked for."""
        scorer, values = done.served.scorer, done.question.taken.values
        figures = scorer.predict(values) if done.question.probabilities else done.figures
        if keeper.take(scorer, done.served.label, done.id, values, figures):
            self.metrics.kept.inc()
        if keeper.due():
            self.workers.submit(keeper.write)

    def _compare(self, protocol: ModuleType, shadow: Served, done: Answered) -> None:
        """Ask a shadow what was asked, and count how far its answer is from the one that was given."""
        metrics, scorer = self.metrics, shadow.scorer
        try:
            question = protocol.question(scorer.schema, done.request)
            ask = scorer.probabilities if question.probabilities else scorer.predict
            differing, distance = difference(done.figures, ask(question.taken.values))
            metrics.shadow_differing.labels(shadow.label).inc(differing)
            metrics.shadow_difference.labels(shadow.label).inc(distance)
            metrics.shadow_rows.labels(shadow.label).inc(len(done.figures))
        except Exception as error:  # whatever a shadow does, requests go on
            metrics.shadow_missed.labels(shadow.label).inc()
            if not isinstance(error, Refused):
                events.log("shadow failed", model=shadow.label, kind=type(error).__name__)
        finally:
            self.shadows.release()


def difference(figures: Any, other: Any) -> tuple[int, float]:
    """Return in how many rows two answers differ, and the sum of the absolute differences of their numbers."""
    if figures.shape != other.shape or figures.dtype.kind != other.dtype.kind:
        return len(figures), 0.0
    rows = (figures != other).reshape(len(figures), -1).any(axis=1)
    distance = float(np.abs(figures - other).sum()) if figures.dtype.kind == "f" else 0.0
    return int(rows.sum()), distance
