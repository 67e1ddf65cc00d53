"""The best trial of a sweep, and why; the Pareto front; when there is nothing better any more."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from trialtree.sweep import ranking
from trialtree.sweep.ranking import Best, Progress
from trialtree.sweep.records import Trial


@dataclass(frozen=True)
class Objective:
    metric: str
    goal: Literal["maximize", "minimize"]


ACCURACY, STD = Objective("cv.accuracy", "maximize"), Objective("cv.accuracy_std", "minimize")
RMSE = Objective("validation.rmse", "minimize")


def done(number: int, *objective: float, size: int | None = 1000, **metrics: float) -> Trial:
    """Return a trial that is done; its metrics are of cv."""
    of = {f"cv.{name}": value for name, value in metrics.items()}
    return Trial(number, {}, state="done", objective=objective, metrics=of, model_bytes=size)


def numbers(trials: list[Trial]) -> list[int]:
    return [trial.number for trial in trials]


def test_metrics_are_named_by_part_and_those_of_a_script_by_its_own(tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    metrics = {"test": {"accuracy": 0.5, "rows": 38}, "cv": {"accuracy": 1, "log_loss": math.nan, "ok": True}}
    (tmp_path / ranking.FILES[0]).write_text(json.dumps(metrics))
    (tmp_path / ranking.FILES[1]).write_text('{"script": {"Accuracy": 0.25}}')
    found = ranking.read(tmp_path)
    assert math.isnan(found.pop("cv.log_loss"))
    assert found == {"test.accuracy": 0.5, "test.rows": 38.0, "cv.accuracy": 1.0, "script.Accuracy": 0.25}


@pytest.mark.parametrize("content", ["{", "[1]", None])
def test_a_file_of_metrics_that_is_damaged_or_missing_has_none(content: str | None, tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    if content is not None:
        (tmp_path / ranking.FILES[0]).write_text(content)
    assert ranking.read(tmp_path) == {}


def test_the_objective_of_a_trial_is_its_metrics_in_order() -> None:
    metrics = {"cv.accuracy": 0.5, "validation.rmse": 2.0}
    assert ranking.values(metrics, [RMSE, ACCURACY]) == ((2.0, 0.5), None)


@pytest.mark.parametrize(
    ("metrics", "reason"),
    [
        ({"cv.acuracy": 1, "test.accuracy": 1}, "has no cv.accuracy; did you mean cv.acuracy?"),
        ({"cv.rmse": 1, "cv.mae": 1, "test.accuracy": 1}, "has no cv.accuracy; known: cv.rmse, cv.mae"),
        ({"test.accuracy": 1}, "has no cv.accuracy; did you mean test.accuracy?"),
        ({}, "has no cv.accuracy; it holds no metric"),
    ],
)
def test_a_trial_without_its_objective_says_what_it_has(metrics: dict[str, float], reason: str) -> None:
    assert ranking.values(metrics, [ACCURACY]) == (None, f"reports/metrics.json {reason}")


@pytest.mark.parametrize(("value", "shown"), [(math.nan, "NaN"), (math.inf, "inf"), (-math.inf, "-inf")])
def test_an_objective_that_is_no_finite_number_is_a_failure(value: float, shown: str) -> None:
    assert ranking.values({"cv.accuracy": value}, [ACCURACY]) == (
        None,
        f"cv.accuracy is {shown}, which cannot be compared",
    )


def test_the_best_comes_first_for_both_goals_and_only_trials_that_are_done_count() -> None:
    trials = [done(0, 0.5), done(1, 0.7), done(2, 0.6), Trial(3, {}, state="failed"), Trial(4, {}, state="pruned")]
    assert numbers(ranking.ranked(trials, [ACCURACY])) == [1, 2, 0]
    assert numbers(ranking.ranked(trials, [RMSE])) == [0, 2, 1]
    assert ranking.best([], [ACCURACY]) is None
    assert ranking.best(trials[3:], [ACCURACY]) is None


def test_ties_go_by_tie_break_then_size_then_number() -> None:
    trials = [
        done(5, 0.9, accuracy_std=0.1, size=10),
        done(4, 0.9, accuracy_std=0.1, size=None),
        done(3, 0.9, size=1),
        done(2, 0.9, accuracy_std=math.nan, size=1),
        done(1, 0.9, accuracy_std=0.2, size=1),
        done(0, 0.8, accuracy_std=0.0, size=1),
    ]
    assert numbers(ranking.ranked(trials, [ACCURACY], [STD])) == [5, 4, 1, 2, 3, 0]
    assert numbers(ranking.ranked(trials, [ACCURACY])) == [1, 2, 3, 5, 4, 0]


def test_means_of_the_same_folds_in_another_order_are_equal() -> None:
    one, other = (0.9 + 0.8 + 0.7) / 3, (0.7 + 0.8 + 0.9) / 3
    assert one != other
    trials = [done(0, min(one, other)), done(1, max(one, other))]
    assert ranking.best(trials, [ACCURACY]) == Best(trials[0], [trials[1]], "number", [])


EXPLAINED = [
    ([done(0, 0.5), done(1, 0.9)], [STD], ["best is trial 1: cv.accuracy 0.9"]),
    (
        [done(0, 0.9, accuracy_std=0.25), done(1, 0.9, accuracy_std=0.125), done(2, 0.9)],
        [STD],
        [
            "best is trial 1: cv.accuracy 0.9",
            "3 trials have that; the lowest cv.accuracy_std decided, 0.125 against 0.25 of trial 0",
        ],
    ),
    (
        [done(0, 0.9, size=12345), done(1, 0.9, size=1234)],
        [STD],
        [
            "best is trial 1: cv.accuracy 0.9",
            "2 trials have that; the smallest model decided, 1,234 bytes against 12,345 bytes of trial 0",
        ],
    ),
    (
        [done(0, 0.9), done(1, 0.9)],
        [],
        [
            "best is trial 0: cv.accuracy 0.9",
            "2 trials have that; the earliest of them is taken, for nothing else tells them apart",
        ],
    ),
]


@pytest.mark.parametrize(("trials", "tie_break", "lines"), EXPLAINED)
def test_it_is_said_why_a_trial_is_the_best(trials: list[Trial], tie_break: list[Objective], lines: list[str]) -> None:
    found = ranking.best(trials, [ACCURACY], tie_break)
    assert found is not None
    assert ranking.explain(found, [ACCURACY], tie_break) == lines


def test_the_front_holds_what_no_other_trial_beats_in_the_order_of_the_first_objective() -> None:
    trials = [done(0, 0.9, 5), done(1, 0.8, 3), done(2, 0.8, 4), done(3, 0.7, 3), done(4, 0.6, 1), done(5, 0.8, 3)]
    both = [ACCURACY, RMSE]
    assert numbers(ranking.front(trials, both)) == [0, 1, 5, 4]
    found = ranking.best(trials, both)
    assert found is not None
    assert ranking.explain(found, both) == [
        "best is trial 0: cv.accuracy 0.9, validation.rmse 5",
        "4 trials are on the Pareto front; the best of them is that with the highest cv.accuracy, then the lowest "
        "validation.rmse",
    ]


def test_a_front_is_that_of_comparing_every_pair() -> None:
    trials = [done(n, (n * 7 % 13) / 13, (n * 5 % 11) / 11) for n in range(60)]

    def beats(one: Trial, other: Trial) -> bool:
        (a, b), (c, d) = one.objective or (0, 0), other.objective or (0, 0)
        return a >= c and b <= d and (a, b) != (c, d)

    expected = {one.number for one in trials if not any(beats(other, one) for other in trials)}
    assert set(numbers(ranking.front(trials, [ACCURACY, RMSE]))) == expected


def test_patience_counts_trials_since_the_last_that_was_better() -> None:
    progress = Progress([ACCURACY])
    pruned, failed = Trial(9, {}, state="pruned"), Trial(9, {}, state="failed")
    seen = [done(0, 0.5), done(1, 0.5), pruned, failed, done(2, 0.6), done(3, 0.6 + 1e-15), done(4, 0.4)]
    assert [(progress.take(trial), progress.since) for trial in seen] == [
        (True, 0), (False, 1), (False, 2), (False, 2), (True, 0), (False, 1), (False, 2),
    ]  # fmt: skip


def test_with_several_objectives_what_none_before_beats_is_better() -> None:
    progress = Progress([ACCURACY, RMSE])
    seen = [done(0, 0.5, 5), done(1, 0.4, 4), done(2, 0.4, 4), done(3, 0.3, 6), done(4, 0.6, 3), done(5, 0.5, 4)]
    assert [progress.take(trial) for trial in seen] == [True, True, False, False, True, False]


def test_a_target_is_reached_by_equal_or_better() -> None:
    reached = [ranking.reached(trial, ACCURACY, 0.9) for trial in (done(0, 0.9), done(1, 0.91), done(2, 0.89))]
    assert reached == [True, True, False]
    assert [ranking.reached(done(0, value), RMSE, 2) for value in (2, 1, 3)] == [True, True, False]
    assert not ranking.reached(Trial(0, {}, state="failed"), RMSE, 2)
