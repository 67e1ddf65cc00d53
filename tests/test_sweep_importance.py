"""How much each param of a sweep counts."""

import math
import os
import random
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.conftest import PROJECT
from tests.test_sweep_ranking import ACCURACY, RMSE, Objective
from trialtree.sweep import importance, space
from trialtree.sweep.importance import Importance
from trialtree.sweep.records import Head, Sweep, Trial

DEPTH, RATE, ROUND = "train.hyperparameters.depth", "train.hyperparameters.rate", "split.seed"
FLAT = {
    DEPTH: {"choice": [2, 4, 6, 8]},
    RATE: {"loguniform": {"min_value": -7, "max_value": 0}},
    ROUND: {"int": {"low": 0, "high": 9}},
}
SVC = {"estimator": "sklearn.svm.SVC", "hyperparameters": {"C": {"loguniform": {"min_value": -3, "max_value": 3}}}}
FOREST = {
    "estimator": "sklearn.ensemble.RandomForestClassifier",
    "hyperparameters": {"n_estimators": {"int": [10, 99]}},
}

Values = Mapping[str, Any]


def swept(of: dict[str, Any], count: int, objective: Callable[[Values], float], **changes: Any) -> Sweep:
    """Return a sweep of trials drawn at random."""
    known, draw = space.read(of, (), {}), random.Random(0)
    section = {"space": of, "where": []}
    sweep = Sweep(Head("x-1", 0, section, {}, "x", "0", "0", (), 0, "engine", "3"))
    for number in range(count):
        point = known.draw(lambda dimension: dimension.expression.draw(draw.random()))
        value = objective(point.values)
        sweep.trials[number] = Trial(
            number, point.values, point.raw, state="done", objective=(value, -value), **changes
        )
    return sweep


def by_rate(values: Values) -> float:
    """Return a score that the rate makes, the depth changes a little and the seed not at all."""
    return -abs(math.log(values[RATE]) + 2) - 0.1 * values[DEPTH]


@pytest.mark.parametrize("objective", [ACCURACY, RMSE])
def test_what_makes_the_score_is_the_most_important(objective: Objective) -> None:
    sign = 1 if objective is ACCURACY else -1
    found = importance.of(swept(FLAT, 200, lambda values: sign * by_rate(values)), objective)
    assert found.note is None
    assert [key for key, _ in found.shares] == [RATE, DEPTH, ROUND]
    assert found.shares[0][1] > 0.75
    assert math.isclose(sum(share for _, share in found.shares), 1)


def test_params_that_only_some_trials_have_are_named_by_their_keys() -> None:
    def score(values: Values) -> float:
        if values["train.estimator"] == SVC["estimator"]:
            return -abs(math.log(values["train.hyperparameters.C"]))
        return -5 + 0.001 * values["train.hyperparameters.n_estimators"]

    found = importance.of(swept({"train": {"choice": [SVC, FOREST]}}, 200, score), ACCURACY)
    assert [key for key, _ in found.shares] == [
        "train.hyperparameters.C",
        "train.estimator",
        "train.hyperparameters.n_estimators",
    ]
    assert found.shares[0][1] > found.shares[2][1] == 0


def test_a_key_that_stands_in_several_items_counts_once() -> None:
    linear = {"estimator": "sklearn.linear_model.LogisticRegression", "hyperparameters": SVC["hyperparameters"]}
    sweep = swept({"train": {"choice": [SVC, linear]}}, 100, lambda values: values["train.hyperparameters.C"])
    assert [key for key, _ in importance.of(sweep, ACCURACY).shares] == ["train.hyperparameters.C", "train.estimator"]


def test_it_says_when_there_are_too_few_trials() -> None:
    assert importance.of(swept(FLAT, 4, by_rate), ACCURACY) == Importance(
        [], "no importance of params: it takes 5 trials that are done, and there are 4"
    )
    found = importance.of(swept(FLAT, 12, by_rate), ACCURACY)
    assert found.note == "by 12 trials only: a guess"
    assert {key for key, _ in found.shares} == {RATE, DEPTH, ROUND}


@pytest.mark.parametrize(
    ("of", "objective", "note"),
    [
        (FLAT, lambda _: 0.9, "cv.accuracy is the same in all 50 trials"),
        ({DEPTH: {"choice": [2]}}, lambda _: random.random(), "none has more than one value"),
    ],
)
def test_it_says_why_nothing_counts(of: dict[str, Any], objective: Callable[[Values], float], note: str) -> None:
    assert importance.of(swept(of, 50, objective), ACCURACY) == Importance([], f"no importance of params: {note}")


def test_only_trials_that_are_done_and_were_drawn_count() -> None:
    sweep = swept(FLAT, 60, by_rate)
    expected = importance.of(sweep, ACCURACY)
    more = [
        Trial(60, {}, {RATE: 9.0}, state="failed"),
        Trial(61, {}, {RATE: 9.0}, state="pruned"),
        Trial(62, {RATE: 9.0}, {}, state="done", objective=(99.0,), source="start_from"),
    ]
    sweep.trials |= {trial.number: trial for trial in more}
    assert importance.of(sweep, ACCURACY) == expected


def test_many_trials_with_the_worst_score_are_not_good() -> None:
    found = importance.of(swept(FLAT, 100, lambda values: 1.0 if values[DEPTH] == 8 else 0.0), ACCURACY)
    assert found.shares[0][0] == DEPTH
    assert found.shares[0][1] > 0.75


def test_a_sweep_whose_space_cannot_be_read_has_none() -> None:
    sweep = swept(dict(FLAT), 20, by_rate)
    sweep.head.section["space"][RATE] = {"levy": [1, 2]}
    found = importance.of(sweep, ACCURACY)
    assert found.note == "no importance of params: this version cannot read the space of the sweep"


CODE = """
from tests.test_sweep_importance import ACCURACY, FLAT, by_rate, importance, swept
print(importance.of(swept(FLAT, 100, by_rate), ACCURACY))
"""


def test_it_is_the_same_in_every_process() -> None:
    texts = {
        subprocess.run(
            [sys.executable, "-c", CODE], env={**os.environ, "PYTHONHASHSEED": seed}, cwd=PROJECT,
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(texts) == 1
