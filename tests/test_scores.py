"""scores: scikit-learn's figures, and a word on each that the rows cannot give."""

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from stages import measures, ranks, scores
from stages.ranks import Ranks
from stages.scores import Label, Predicted

LABELS = ["a", "b", "c"]
NO_MARKS = "the estimator gives neither a probability nor a decision function that is a number for each label"
MARKS = st.one_of(
    st.sampled_from([-1.0, -0.0, 0.0, 0.1, 0.5, 1.0, 5e-324, 1e300]), st.floats(-1e6, 1e6), st.floats(0, 1)
)
MARKED = st.lists(st.tuples(st.booleans(), MARKS), min_size=1, max_size=80)
NUMBER = st.floats(-1e9, 1e9).filter(lambda x: x == 0 or abs(x) > 1e-9)
NUMBERED = st.lists(st.tuples(NUMBER, NUMBER), min_size=2, max_size=80)
SHARES = st.lists(st.integers(0, 10), min_size=3, max_size=3).filter(any)
PAIRS = st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1, max_size=80)


def all_of(rows: Predicted) -> dict[str, float]:
    return scores.score(rows, scores.applying(len(rows.labels)), "test")[0]


def notes(rows: Predicted, *names: str) -> list[str]:
    return scores.score(rows, names, "test")[1]


@settings(max_examples=300, deadline=None)
@given(PAIRS)
@pytest.mark.filterwarnings("ignore")
def test_counts_give_scikit_learns_figures(pairs: list[tuple[str, str]]) -> None:
    actual, predicted = (np.array(side) for side in zip(*pairs, strict=True))
    expected = {
        "accuracy": sk.accuracy_score(actual, predicted),
        "balanced_accuracy": sk.balanced_accuracy_score(actual, predicted),
        "precision_macro": sk.precision_score(actual, predicted, average="macro", zero_division=0),
        "recall_macro": sk.recall_score(actual, predicted, average="macro", zero_division=0),
        "f1_macro": sk.f1_score(actual, predicted, average="macro", zero_division=0),
        "mcc": sk.matthews_corrcoef(actual, predicted),
    }
    found = all_of(Predicted(actual, predicted, LABELS))
    assert {name: found[name] for name in expected} == expected


@settings(max_examples=200, deadline=None)
@given(pairs=PAIRS, positive=st.sampled_from(["a", "b"]))
@pytest.mark.filterwarnings("ignore")
def test_the_positive_label_gives_scikit_learns_figures(pairs: list[tuple[str, str]], positive: str) -> None:
    actual, predicted = (np.array(side) for side in zip(*pairs, strict=True))
    expected = {
        name: getattr(sk, f"{name}_score")(actual == positive, predicted == positive, zero_division=0)
        for name in ("precision", "recall", "f1")
    }
    found = all_of(Predicted(actual, predicted, ["a", "b"], positive))
    assert {name: found[name] for name in expected} == expected


@settings(max_examples=500, deadline=None)
@given(MARKED)
@pytest.mark.filterwarnings("ignore")
def test_ranks_give_scikit_learns_curves_and_areas_bit_for_bit(rows: list[tuple[bool, float]]) -> None:
    is_label, marks = (np.array(side) for side in zip(*rows, strict=True))
    found = Ranks.of(is_label, marks)
    assert found.others == (~is_label).sum()
    if is_label.any():
        precision, recall, _ = sk.precision_recall_curve(is_label, marks, drop_intermediate=True)
        same(found.precision_recall(thinned=True), (recall, precision))
        assert found.average_precision() == sk.average_precision_score(is_label, marks)
        share, mean = calibration_curve(is_label, np.clip(marks, 0, 1), n_bins=10)
        same(ranks.calibration(is_label, np.clip(marks, 0, 1), 10), (mean, share))
        if not is_label.all():
            same(found.roc(), sk.roc_curve(is_label, marks)[:2])
            assert found.roc_auc() == sk.roc_auc_score(is_label, marks)


def same(found: tuple[ranks.Array, ranks.Array], expected: tuple[ranks.Array, ranks.Array]) -> None:
    """Hold two curves to be equal, bit for bit."""
    assert [side.tolist() for side in found] == [side.tolist() for side in expected]


NAMES = {
    measures.rmse: sk.root_mean_squared_error,
    measures.mae: sk.mean_absolute_error,
    measures.mape: sk.mean_absolute_percentage_error,
    measures.r2: sk.r2_score,
}


@settings(max_examples=500, deadline=None)
@given(NUMBERED)
def test_measures_of_numbers_are_scikit_learns_bit_for_bit(rows: list[tuple[float, float]]) -> None:
    actual, predicted = (np.array(side) for side in zip(*rows, strict=True))
    assert [ours(actual, predicted) for ours in NAMES] == [theirs(actual, predicted) for theirs in NAMES.values()]


def test_measures_of_many_numbers_are_scikit_learns_bit_for_bit() -> None:
    random = np.random.RandomState(3)
    actual = random.standard_normal(300_001)
    predicted = actual + random.standard_normal(300_001)
    assert [ours(actual, predicted) for ours in NAMES] == [theirs(actual, predicted) for theirs in NAMES.values()]
    marks, is_label = predicted.round(3), actual > 0
    assert Ranks.of(is_label, marks).roc_auc() == sk.roc_auc_score(is_label, marks)
    assert Ranks.of(is_label, marks).average_precision() == sk.average_precision_score(is_label, marks)


@pytest.mark.parametrize("kind", [np.float32, np.int64])
def test_measures_of_other_numbers_are_scikit_learns(kind: type) -> None:
    actual, predicted = np.array([1, 2, 4], kind), np.array([1, 3, 3], kind)
    assert [ours(actual, predicted) for ours in NAMES] == [theirs(actual, predicted) for theirs in NAMES.values()]


def test_a_gap_among_the_numbers_is_refused_as_scikit_learn_does() -> None:
    with pytest.raises(ValueError, match=r"^Input contains NaN\.$"):
        measures.rmse(np.array([1.0, np.nan]), np.array([1.0, 2.0]))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(LABELS), SHARES), min_size=1, max_size=60))
def test_the_log_loss_is_scikit_learns_bit_for_bit(rows: list[tuple[str, list[int]]]) -> None:
    actual, shares = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    probabilities = shares / shares.sum(axis=1, keepdims=True)
    assert measures.log_loss(actual, probabilities, LABELS) == sk.log_loss(actual, probabilities, labels=LABELS)


@pytest.mark.parametrize(
    ("labels", "probabilities", "said"),
    [
        (["b", "a"], [[0.3, 0.7], [0.6, 0.4]], "Labels passed were"),
        (["a", "b"], [[0.3, 0.3], [0.6, 0.4]], "The y_prob values do not sum to one"),
    ],
)
def test_what_scikit_learn_warns_of_is_left_to_it(
    labels: list[str], probabilities: list[list[float]], said: str
) -> None:
    actual, given = np.array(["a", "b"]), np.array(probabilities)
    with pytest.warns(UserWarning, match=said):
        found = measures.log_loss(actual, given, labels)
    with pytest.warns(UserWarning, match=said):
        assert found == sk.log_loss(actual, given, labels=labels)


@pytest.fixture
def three() -> Predicted:
    """Three labels with probabilities."""
    random = np.random.RandomState(0)
    probabilities = random.dirichlet(np.ones(3), 200)
    actual = np.array([LABELS[random.choice(3, p=row)] for row in probabilities])
    return Predicted(actual, np.array(LABELS)[probabilities.argmax(axis=1)], LABELS, None, probabilities)


def test_three_labels_are_scored_by_all_metrics_of_labels(three: Predicted) -> None:
    found = all_of(three)
    assert tuple(found) == scores.CLASSES
    assert found["roc_auc"] == sk.roc_auc_score(three.actual, three.probabilities, multi_class="ovr")
    assert found["log_loss"] == sk.log_loss(three.actual, three.probabilities)


@pytest.mark.parametrize("positive", [0, 1])
def test_two_labels_are_scored_for_the_positive_one(positive: int) -> None:
    random = np.random.RandomState(1)
    mark = random.rand(300)
    actual = (random.rand(300) < mark).astype(int)
    rows = Predicted(actual, (mark > 0.5).astype(int), [0, 1], positive, np.column_stack([1 - mark, mark]))
    found = all_of(rows)
    assert tuple(found) == (*scores.CLASSES, *scores.TWO_CLASSES)
    assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(actual, mark), abs=1e-12)
    assert found["average_precision"] == sk.average_precision_score(actual == positive, np.abs(mark - 1 + positive))


def test_a_decision_function_gives_the_auc_and_no_log_loss() -> None:
    actual = np.array(["n", "n", "y", "y"])
    rows = Predicted(actual, actual, ["n", "y"], "y", decision=np.array([-2.0, 1.0, 0.5, 3.0]))
    assert all_of(rows)["roc_auc"] == 0.75
    assert notes(rows, "log_loss") == [
        "test: log_loss left out: the estimator has no probabilities (train.calibrate: true makes them)"
    ]


def test_without_either_there_is_no_auc() -> None:
    rows = Predicted(np.array([0, 1]), np.array([0, 1]), [0, 1], 1)
    assert notes(rows, "roc_auc", "average_precision", "f1") == [
        f"test: roc_auc left out: {NO_MARKS}",
        f"test: average_precision left out: {NO_MARKS}",
    ]


def test_a_one_versus_one_decision_function_is_not_taken_for_marks_of_labels() -> None:
    labels = list("abcd")
    rows = Predicted(np.array(labels), np.array(labels), labels, decision=np.zeros((4, 6)))
    assert rows.marks is None


def test_a_probability_that_is_no_number_gives_no_auc_and_no_log_loss() -> None:
    rows = Predicted(np.array([0, 1]), np.array([0, 1]), [0, 1], 1, np.array([[0.5, 0.5], [np.nan, 1.0]]))
    assert notes(rows, "roc_auc", "log_loss") == [
        f"test: roc_auc left out: {NO_MARKS}",
        "test: log_loss left out: a probability is not a number",
    ]


def test_rows_of_one_class_have_no_auc() -> None:
    rows = Predicted(np.array([1, 1]), np.array([0, 1]), [0, 1], 1, np.full((2, 2), 0.5))
    assert notes(rows, "roc_auc") == ["test: roc_auc left out: all of the 2 rows are 1"]
    without = Predicted(np.array(["a", "b"]), np.array(["a", "b"]), LABELS, None, np.full((2, 3), 1 / 3))
    assert notes(without, "roc_auc") == ["test: roc_auc left out: none of the 2 rows are 'c'"]


def test_a_label_that_train_lacks_counts_as_wrong() -> None:
    rows = Predicted(np.array(["a", "b", "new"]), np.array(["a", "b", "a"]), ["a", "b"], "b", np.full((3, 2), 0.5))
    assert scores.unknown_labels(rows) == ["new"]
    assert all_of(rows)["accuracy"] == 2 / 3
    assert notes(rows, "log_loss") == ["test: log_loss left out: the model does not know 'new'"]


def test_numbers_are_scored_as_scikit_learn_and_numpy_do() -> None:
    random = np.random.RandomState(2)
    actual = random.rand(500) + 1
    predicted = actual + random.randn(500) / 10
    errors = np.abs(actual - predicted)
    assert all_of(Predicted(actual, predicted)) == {
        "rmse": sk.root_mean_squared_error(actual, predicted),
        "mae": sk.mean_absolute_error(actual, predicted),
        "r2": sk.r2_score(actual, predicted),
        "mape": sk.mean_absolute_percentage_error(actual, predicted),
        "ae_p10": np.percentile(errors, 10),
        "ae_p50": np.percentile(errors, 50),
        "ae_p90": np.percentile(errors, 90),
    }


def test_what_numbers_cannot_give_is_said() -> None:
    rows = Predicted(np.zeros(3), np.ones(3))
    assert notes(rows, "rmse", "r2", "mape") == [
        "test: r2 left out: the target is the same in all 3 rows",
        "test: mape left out: the target is 0 in 3 of 3 rows",
    ]


def test_a_prediction_that_is_no_number_is_refused() -> None:
    with pytest.raises(scores.ScoreError) as error:
        all_of(Predicted(np.zeros(3), np.array([0.0, np.nan, np.inf])))
    assert str(error.value) == "the model predicts no finite number for 2 of 3 rows of test"


@pytest.mark.parametrize(
    ("wanted", "labels", "found"),
    [
        (None, ["a", "b"], "b"),
        (None, ["a", "b", "c"], None),
        (None, [], None),
        ("a", ["a", "b"], "a"),
        (True, ["False", "True"], "True"),
        (False, ["false", "true"], "false"),
        (1, ["0", "1"], "1"),
        (1, [0, 1], 1),
        ("0", [0, 1], 0),
        (1, [0.0, 1.0], 1.0),
    ],
)
def test_the_positive_label_is_the_models_own(
    wanted: bool | int | str | None, labels: list[Label], found: Label
) -> None:
    label = scores.positive(wanted, labels)
    assert (label, type(label)) == (found, type(found))


@pytest.mark.parametrize(
    ("wanted", "labels", "line"),
    [
        (True, [0, 1], "must be 0 or 1, got True"),
        ("yes", ["False", "True"], "must be 'False' or 'True', got 'yes'"),
        ("a", ["a", "b", "c"], "is for two labels, and the model predicts 3 labels"),
        ("a", [], "is for two labels, and the model predicts numbers"),
    ],
)
def test_a_positive_label_that_is_none_is_refused(wanted: bool | str, labels: list[Label], line: str) -> None:
    with pytest.raises(scores.ScoreError) as error:
        scores.positive(wanted, labels)
    assert str(error.value) == f"params.yaml: evaluate.positive: {line}"
