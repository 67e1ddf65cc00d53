"""An estimator of the repository's own whose fit goes on until a file is there, and what waits for things."""

import time
from collections.abc import Callable
from typing import Any

import pytest

SLOW = '''
"""A classifier that takes its time."""

import time
from pathlib import Path

from sklearn.dummy import DummyClassifier


class Slow(DummyClassifier):
    """The most frequent label, found out slowly."""

    def __init__(self, iterations=100_000, pause=0.01, enough="", fails=False, seed=0):
        super().__init__(strategy="prior")
        self.iterations, self.pause, self.enough, self.fails, self.seed = iterations, pause, enough, fails, seed

    def fit(self, X, y, sample_weight=None):
        self.loss_curve_, self.validation_scores_ = [], []
        for step in range(self.iterations):
            time.sleep(self.pause)
            self.loss_curve_.append(1 / (1 + step))
            self.validation_scores_.append(step / (1 + step))
            if self.enough and Path(self.enough).exists():
                break
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
