"""An estimator of the repository's own whose fit takes as long as one wants, and what waits for it."""

import time
from collections.abc import Callable
from typing import Any

import pytest

SLOW = '''
"""A classifier that takes its time."""

import time

from sklearn.dummy import DummyClassifier


class Slow(DummyClassifier):
    """The most frequent label, found out slowly."""

    def __init__(self, iterations=100, pause=0.01, fails=False, strategy="prior", random_state=None, constant=None):
        super().__init__(strategy=strategy, random_state=random_state, constant=constant)
        self.iterations, self.pause, self.fails = iterations, pause, fails

    def fit(self, X, y, sample_weight=None):
        self.loss_curve_, self.validation_scores_ = [], []
        for step in range(self.iterations):
            time.sleep(self.pause)
            self.loss_curve_.append(1 / (1 + step))
            self.validation_scores_.append(step / self.iterations)
        if self.fails:
            raise RuntimeError("no label is frequent")
        return super().fit(X, y, sample_weight)
'''


def until(found: Callable[[], Any], seconds: float = 60) -> Any:
    """Return what is found as soon as there is something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.05)
    pytest.fail(f"nothing was found in {seconds} s")
