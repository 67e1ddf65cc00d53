"""Is head better than base? The metrics, the interval and the verdict, on rows whose truth is known."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import verdicts
from stages.scores import CLASSES, NUMBERS, TWO_CLASSES, Predicted, score
from trialtree.review import bootstrap, pairs, verdict, weighted
from trialtree.review.pairs import Pairs, PairsError

DRAW = np.random.default_rng(0)
ROWS = 200


def numbers(rows: int = ROWS, spread: float = 1.0, seed: int = 0) -> Predicted:
    """Return predictions of numbers."""
    draw = np.random.default_rng(seed)
    actual = draw.normal(5, 3, rows)
    return Predicted(actual, actual + draw.normal(0, spread, rows))


def labelled(labels: int, rows: int = ROWS, seed: int = 0) -> Predicted:
    """Return predictions of labels, with probabilities of which some are equal."""
    draw = np.random.default_rng(seed)
    names = ["a", "b", "c", "d"][:labels]
    marks = draw.dirichlet(np.ones(labels), rows).round(1) + 0.05
    marks /= marks.sum(axis=1, keepdims=True)
    actual = np.array(names)[draw.integers(labels, size=rows)]
    return Predicted(actual, np.array(names)[marks.argmax(axis=1)], names, names[-1] if labels == 2 else None, marks)


CASES = [
    *(pytest.param(name, numbers(), id=name) for name in NUMBERS),
    *(pytest.param(name, labelled(2), id=f"{name} of two") for name in (*CLASSES, *TWO_CLASSES)),
    *(pytest.param(name, labelled(4), id=f"{name} of four") for name in CLASSES),
]


@pytest.mark.parametrize(("name", "rows"), CASES)
def test_a_metric_of_counted_rows_is_that_of_rows_written_out(name: str, rows: Predicted) -> None:
    counts = DRAW.integers(0, 4, size=(20, ROWS)).astype(float)
    written = [bootstrap.taken(rows, np.repeat(np.arange(ROWS), of.astype(int))) for of in counts]
    expected = [score(some, [name], "test")[0][name] for some in written]
    assert weighted.metric(name, rows)(counts) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_the_interval_is_the_same_each_time_and_holds_the_difference() -> None:
    base, head = numbers(seed=1), numbers(seed=1)
    head = Predicted(base.actual, base.actual + 0.9 * (head.predicted - head.actual))
    found = bootstrap.difference("rmse", base, head)
    assert found == bootstrap.difference("rmse", base, head)
    assert found is not None
    assert found.low < found.difference < found.high
    assert found.excludes_zero


def test_many_rows_give_the_interval_of_theory() -> None:
    draw = np.random.default_rng(3)
    actual = np.zeros(200_000)
    base = Predicted(actual, draw.normal(0, 1, len(actual)))
    head = Predicted(actual, draw.normal(0, 1, len(actual)))
    found = bootstrap.difference("mae", base, head)
    assert found is not None
    errors = np.abs(head.predicted) - np.abs(base.predicted)
    half = 1.96 * errors.std() / np.sqrt(len(errors))
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.1)
    assert found.difference == pytest.approx(errors.mean())


def test_rows_that_do_not_give_a_metric_have_no_interval() -> None:
    one = Predicted(np.array(["a", "a"]), np.array(["a", "a"]), ["a", "b"], "b", np.array([[0.9, 0.1]] * 2))
    assert bootstrap.difference("roc_auc", one, one) is None
    assert bootstrap.difference("rmse", one, one) is None


# Pairs.


def written(path: Path, rows: Predicted, number: Any = None, hashes: Any = None) -> Path:
    """Write predictions as evaluate does."""
    count = len(rows.actual)
    columns = {
        "row": np.arange(count) if number is None else number,
        "row_hash": [f"{n:064x}" for n in range(count)] if hashes is None else hashes,
        "actual": rows.actual,
        "predicted": rows.predicted,
    }
    if rows.probabilities is not None:
        columns |= {f"p_{label}": rows.probabilities[:, at].copy() for at, label in enumerate(rows.labels)}
    pq.write_table(pa.table(columns), path)
    return path


def test_predictions_are_read_as_evaluate_had_them(tmp_path: Path) -> None:
    rows = labelled(2)
    found = pairs.read(written(tmp_path / "p", rows), positive="a")
    assert (list(found.labels), found.positive, found.task) == (["a", "b"], "a", "classification")
    assert score(found, TWO_CLASSES, "test") == score(
        Predicted(rows.actual, rows.predicted, ["a", "b"], "a", rows.probabilities), TWO_CLASSES, "test"
    )


def test_labels_that_are_numbers_stay_in_the_order_of_the_model(tmp_path: Path) -> None:
    actual = np.array([10, 9, 9])
    marks = np.array([[0.1, 0.9], [0.8, 0.2], [0.6, 0.4]])
    found = pairs.read(written(tmp_path / "p", Predicted(actual, actual, [9, 10], 10, marks)))
    assert list(found.labels) == [9, 10]


def test_rows_are_known_again_by_number_or_by_hash_and_occurrence(tmp_path: Path) -> None:
    base = Predicted(np.array([1.0, 2.0, 2.0, 3.0]), np.array([1.1, 2.1, 2.2, 3.1]))
    head = Predicted(np.array([2.0, 2.0, 3.0, 5.0]), np.array([2.3, 2.4, 3.2, 5.1]))
    one = written(tmp_path / "a", base, [0, 1, 2, 3], ["x", "y", "y", "z"])
    other = written(tmp_path / "b", head, [7, 8, 3, 9], ["y", "y", "z", "w"])
    found = pairs.match(one, other, same_source=False)
    assert found.base.predicted.tolist() == [2.1, 2.2, 3.1]
    assert found.head.predicted.tolist() == [2.3, 2.4, 3.2]
    assert (found.rows, found.shared, found.same_test, found.relabelled) == ((4, 4), 3, False, 0)
    assert pairs.match(one, other, same_source=True).head.predicted.tolist() == [3.2]


def test_rows_of_another_target_are_counted_and_left_out(tmp_path: Path) -> None:
    base = Predicted(np.array(["a", "b"]), np.array(["a", "b"]), ["a", "b"])
    head = Predicted(np.array(["a", "a"]), np.array(["a", "b"]), ["a", "b"])
    found = pairs.match(written(tmp_path / "a", base), written(tmp_path / "b", head), same_source=True)
    assert (found.shared, found.relabelled) == (1, 1)


@pytest.mark.parametrize("other", [numbers(3), labelled(2, 3)])
def test_what_cannot_be_compared_is_one_line(other: Predicted, tmp_path: Path) -> None:
    one = written(tmp_path / "a", labelled(2, 3), hashes=["x", "y", "z"])
    with pytest.raises(PairsError) as fault:
        pairs.match(one, written(tmp_path / "b", other), same_source=False)
    said = "base predicts 'a' or 'b', head numbers" if other.task == "regression" else "have no row in common"
    assert said in str(fault.value)
    (tmp_path / "c").write_bytes(one.read_bytes()[:100])
    with pytest.raises(PairsError, match=r"^reports/predictions\.parquet is damaged"):
        pairs.match(one, tmp_path / "c", same_source=False)


# The verdict.


def judged(base: Predicted, head: Predicted, metric: str) -> verdict.Verdict:
    """Return the verdict on predictions of the same rows."""
    count = len(base.actual)
    found = verdict.judge(metric, Pairs(base, head, (count, count), "by their number", 0))
    assert found is not None
    return found


def test_the_verdict_says_which_is_better_by_how_much_on_how_many_rows() -> None:
    base = numbers(2000)
    head = Predicted(base.actual, base.actual + 0.8 * (base.predicted - base.actual))
    found = judged(base, head, "mae")
    assert found.outcome == "better"
    assert str(found).startswith("Better: mae 0.8")
    assert str(found).endswith(", on 2,000 rows).")
    assert judged(head, base, "mae").outcome == "worse"
    assert judged(base, head, "r2").outcome == "better"


def test_few_rows_show_no_difference_and_say_so() -> None:
    draw = np.random.default_rng(1)
    actual = draw.integers(2, size=38)
    base, head = (np.where(draw.random(38) < share, actual, 1 - actual) for share in (0.9, 0.95))
    found = judged(Predicted(actual, base, [0, 1], 1), Predicted(actual, head, [0, 1], 1), "accuracy")
    assert str(found).startswith("No difference that 38 rows can show: accuracy ")


def test_the_same_predictions_are_said_to_be_the_same() -> None:
    assert str(judged(labelled(2), labelled(2), "accuracy")) == "No difference: both predict the same of all 200 rows."


def test_five_rows_that_only_one_gets_right_are_no_proof() -> None:
    actual = np.zeros(40, dtype=int)
    base, head = actual.copy(), actual.copy()
    base[:5] = 1
    found = judged(Predicted(actual, base, [0, 1], 1), Predicted(actual, head, [0, 1], 1), "accuracy")
    assert found.interval.excludes_zero
    assert found.mcnemar == verdict.McNemar(0, 5, pytest.approx(2 * 0.5**5 - 0.5**5))
    assert found.outcome == "better"  # mid-p is 0.03
    base[4] = 0
    assert judged(Predicted(actual, base, [0, 1], 1), Predicted(actual, head, [0, 1], 1), "accuracy").outcome == (
        "no difference"
    )


@pytest.mark.parametrize(
    ("params", "metric"),
    [
        ({"review.metric": "f1_macro", "sweep.objective.metric": "cv.roc_auc"}, "f1_macro"),
        ({"sweep.objective.metric": "cv.roc_auc", "register.gates.mcc.min": 0.1}, "roc_auc"),
        ({"sweep.objective": [{"metric": "cv.log_loss"}]}, "log_loss"),
        ({"register.gates.mcc.min": 0.1}, "mcc"),
        ({"review.metric": "rmse"}, "accuracy"),
        ({}, "accuracy"),
    ],
)
def test_the_metric_that_decides_is_the_one_that_params_care_for(params: dict[str, Any], metric: str) -> None:
    assert verdict.main_metric(params, "classification", CLASSES) == metric


@pytest.mark.slow
@pytest.mark.parametrize("case", [verdicts.CASES[n] for n in (0, 1, 3, 6)], ids=lambda case: case.name)
def test_chance_is_called_better_in_at_most_five_percent(case: verdicts.Case) -> None:
    same = verdicts.counted(case, 0.0, 200)
    assert same["better"] <= 10
    assert same["worse"] <= 10
    assert 15 <= verdicts.counted(case, 2.0, 100)["better"] <= 75
