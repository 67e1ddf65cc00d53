"""evaluate: known figures, folds, predictions and plots of real fits, and clear lines for what cannot be scored."""

import csv
import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages import databases, evaluate, fetch, folding, hashes, models, params, plots, predictions, split, tables, train
from stages.errors import UserError
from stages.scores import Predicted
from stages.tables import Column, Columns
from tests.conftest import PROJECT, Repo
from tests.tabling import raw, write_params

IRIS: dict[str, Any] = {
    "fetch": {"source": "sklearn:iris"},
    "split": {"target": "species", "test": 0.25, "seed": 0},
    "train": {"estimator": "sklearn.svm.SVC", "hyperparameters": {"kernel": "linear", "C": 1.0}},
}
TREE = {"estimator": "sklearn.tree.DecisionTreeClassifier", "hyperparameters": {"max_depth": 2}}
LINE = {"estimator": "sklearn.linear_model.LinearRegression"}


def ran(**sections: Any) -> dict[str, dict[str, float]]:
    """Run fetch (where there is a source), split, train and evaluate; return the metrics."""
    write_params(**sections)
    if "fetch" in sections:
        fetch.main()
    split.main()
    train.main()
    evaluate.main()
    return metrics()


def metrics() -> dict[str, dict[str, float]]:
    content: dict[str, dict[str, float]] = json.loads(evaluate.METRICS.read_text())
    return content


def rows_of(name: str) -> list[list[str]]:
    """Return the lines of a plot's file."""
    with (evaluate.PLOTS / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def folds_csv() -> list[dict[str, str]]:
    with evaluate.FOLDS.open(newline="") as file:
        return list(csv.DictReader(file))


def refusal() -> str:
    with pytest.raises(UserError) as error:
        evaluate.main()
    return str(error.value)


@pytest.fixture(autouse=True)
def _in_a_folder(in_folder: Callable[[], Path]) -> None:
    in_folder()


# ---- known figures


@pytest.mark.parametrize(
    ("kernel", "accuracy", "counts"),
    [
        ("linear", 0.9736842105263158, [[13, 0, 0], [0, 15, 1], [0, 0, 9]]),
        ("sigmoid", 0.23684210526315788, [[0, 0, 13], [0, 0, 16], [0, 0, 9]]),
    ],
)
def test_iris_has_the_articles_figures(kernel: str, accuracy: float, counts: list[list[int]]) -> None:
    train_section = {"estimator": "sklearn.svm.SVC", "hyperparameters": {"kernel": kernel, "C": 1.0}}
    found = ran(**{**IRIS, "train": train_section})
    assert found["test"]["accuracy"] == accuracy
    assert found["test"]["rows"] == 38
    names = ["setosa", "versicolor", "virginica"]
    cells = {(there, said): int(count) for there, said, count in rows_of("confusion")[1:]}
    assert [[cells.get((there, said), 0) for said in names] for there in names] == counts


def test_cross_validation_is_scikit_learns_on_the_train_part() -> None:
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.svm import SVC

    found = ran(**IRIS, evaluate={"cross_validation": {"folds": 5}, "metrics": ["accuracy", "f1_macro"]})
    part = tables.read_part("train", tables.read_columns())
    X = np.column_stack([part.column(name).to_numpy() for name in part.column_names[1:5]])
    y = np.array(part.column("species").to_pylist())
    folds = [test for _, test in StratifiedKFold(5, shuffle=True, random_state=0).split(X, y)]
    # Rows 101 and 142 of iris are equal, and the second in train joins the fold of the first.
    first, again = sorted(part.column("row").to_pylist().index(row) for row in (101, 142))
    folds = [np.union1d(f, [again]) if first in f else np.setdiff1d(f, [again]) for f in folds]
    cv = [(np.setdiff1d(np.arange(len(y)), f), f) for f in folds]
    expected = {
        name: cross_val_score(SVC(kernel="linear"), X, y, cv=cv, scoring=name) for name in ("accuracy", "f1_macro")
    }
    assert found["cv"] == {
        "accuracy": expected["accuracy"].mean(),
        "accuracy_std": expected["accuracy"].std(),
        "f1_macro": expected["f1_macro"].mean(),
        "f1_macro_std": expected["f1_macro"].std(),
    }
    assert [(row["fold"], row["rows_train"], row["rows"]) for row in folds_csv()] == [
        (str(number), str(len(y) - len(f)), str(len(f))) for number, f in enumerate(folds, start=1)
    ]
    assert [float(row["accuracy"]) for row in folds_csv()] == expected["accuracy"].tolist()


def test_validation_stands_apart_and_folds_are_empty_without_cross_validation() -> None:
    found = ran(
        fetch={"source": "sklearn:diabetes"}, split={"target": "target", "validation": 0.2, "test": 0.1}, train=LINE
    )
    assert {part: [*values] for part, values in found.items()} == {
        "test": ["rmse", "mae", "r2", "mape", "ae_p10", "ae_p50", "ae_p90", "rows"],
        "validation": ["rmse", "mae", "r2", "mape", "ae_p10", "ae_p50", "ae_p90", "rows"],
    }
    assert (found["test"]["rows"], found["validation"]["rows"]) == (45, 88)
    assert evaluate.FOLDS.read_text() == "fold\n"
    assert len(rows_of("residuals")) == len(rows_of("predicted_actual")) == 46
    assert [len(rows_of(name)) for name in ("confusion", "roc", "precision_recall", "calibration")] == [1] * 4


def test_the_table_of_metrics_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    ran(**IRIS, evaluate={"metrics": ["accuracy", "log_loss"], "cross_validation": {"folds": 5}})
    assert capsys.readouterr().out.splitlines()[-4:] == [
        "                test          cv",
        "accuracy      0.9737      0.9735",
        "rows              38",
        "test: log_loss left out: the estimator has no probabilities (train.calibrate: true makes them)",
    ]


def test_two_processes_write_the_same_bytes() -> None:
    ran(**IRIS | {"train": TREE}, evaluate={"cross_validation": {"folds": 3}, "learning_curve": True})
    once = {path: path.read_bytes() for path in Path("reports").rglob("*") if path.is_file()}
    code = f"import sys; sys.path.insert(0, {str(PROJECT)!r}); from stages import evaluate; evaluate.main()"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert {path: path.read_bytes() for path in Path("reports").rglob("*") if path.is_file()} == once


# ---- two labels


@pytest.fixture
def spam() -> None:
    """A table of two labels."""
    raw(
        "SELECT range::DOUBLE AS x, hash(range) % 7 AS noise, CASE WHEN range + hash(range) % 60 > 120 "
        "THEN 'spam' ELSE 'ham' END AS kind FROM range(200)",
        x="number", noise="integer", kind="category",
    )  # fmt: skip


@pytest.mark.usefixtures("spam")
def test_the_positive_label_is_the_last_or_the_one_named() -> None:
    sections = {"split": {"target": "kind", "test": 0.4}, "train": TREE}
    spam = ran(**sections)["test"]
    ham = ran(**sections, evaluate={"positive": "ham"})["test"]
    assert [*spam] == [
        "accuracy", "balanced_accuracy", "precision_macro", "recall_macro", "f1_macro", "roc_auc", "log_loss", "mcc",
        "precision", "recall", "f1", "average_precision", "rows",
    ]  # fmt: skip
    assert spam["precision"] != ham["precision"]
    assert (spam["precision"] + ham["precision"]) / 2 == pytest.approx(spam["precision_macro"])
    assert {row[0] for row in rows_of("roc")[1:]} == {"ham"}


@pytest.mark.parametrize(
    ("labels", "named", "positive"),
    [
        (("False", "True"), False, "False"),
        (("TRUE", "no"), True, "TRUE"),
        (("0", "1"), 0, "0"),
        (("a", "b"), None, "b"),
    ],
)
def test_a_label_is_named_as_text(labels: tuple[str, str], named: Any, positive: str) -> None:
    raw(f"SELECT range AS x, CASE WHEN range % 20 < 10 THEN '{labels[0]}' ELSE '{labels[1]}' END AS kind "
        "FROM range(100)", x="integer", kind="category")  # fmt: skip
    ran(split={"target": "kind", "test": 0.3}, train=TREE, evaluate={"positive": named})
    assert {row[0] for row in rows_of("roc")[1:]} == {positive}


@pytest.mark.usefixtures("spam")
def test_predictions_hold_each_row_with_its_hash_and_probabilities() -> None:
    ran(split={"target": "kind", "test": 0.4}, train=TREE)
    table = pq.read_table(evaluate.PREDICTIONS)
    assert table.column_names == ["row", "row_hash", "actual", "predicted", "p_ham", "p_spam"]
    part = tables.read_part("test", tables.read_columns())
    assert table.column("row").to_pylist() == part.column("row").to_pylist()
    assert table.column("actual").to_pylist() == part.column("kind").to_pylist()
    for row, values in zip(table.to_pylist(), part.to_pylist(), strict=True):
        written = b"\x01" + struct.pack(">d", values["x"]) + b"\x01" + struct.pack(">q", values["noise"])
        assert row["row_hash"] == sha256(written).hexdigest()
        assert row["p_ham"] + row["p_spam"] == pytest.approx(1)
        assert row["predicted"] == ("spam" if row["p_spam"] > 0.5 else "ham")


@pytest.mark.parametrize(
    ("section", "line"),
    [
        (
            {"metrics": ["accuracy", "rmse"]},
            "params.yaml: evaluate.metrics[1]: rmse is for numbers, and the model predicts 'ham' or 'spam'; known: "
            "accuracy, balanced_accuracy, precision_macro, recall_macro, f1_macro, roc_auc, log_loss, mcc, precision, "
            "recall, f1, average_precision",
        ),
        ({"positive": "eggs"}, "params.yaml: evaluate.positive: must be 'ham' or 'spam', got 'eggs'"),
        (
            {"cross_validation": {"folds": 99}},
            "params.yaml: evaluate.cross_validation.folds: must be at most the 56 rows of 'ham' in train, got 99",
        ),
    ],
)
@pytest.mark.usefixtures("spam")
def test_what_does_not_suit_the_model_is_one_line(section: dict[str, Any], line: str) -> None:
    sections = {"split": {"target": "kind", "test": 0.4}, "train": TREE}
    ran(**sections)
    write_params(**sections, evaluate=section)
    assert refusal() == line


@pytest.mark.parametrize(
    ("section", "line"),
    [
        (
            {"metrics": ["acuracy"]},
            "params.yaml: evaluate.metrics[0]: must be a metric (did you mean accuracy?), got 'acuracy'",
        ),
        (
            {"cross_validation": {"folds": 1}},
            "params.yaml: evaluate.cross_validation.folds: must be greater than or equal to 2, got 1",
        ),
        ({"cross_validation": {"fold": 5}}, None),
        ({"learning_curve": {"points": 1}}, None),
    ],
)
def test_a_fault_of_params_is_named(section: dict[str, Any], line: str | None) -> None:
    with pytest.raises(params.ParamsError) as error:
        params.parse("evaluate", section, evaluate.EvaluateParams)
    assert line is None or str(error.value) == line


def test_a_learning_curve_is_true_false_or_its_points() -> None:
    def curve(value: Any) -> evaluate.LearningCurve | None:
        return params.parse("evaluate", {"learning_curve": value}, evaluate.EvaluateParams).learning_curve

    assert curve(True) == evaluate.LearningCurve(points=5)
    assert curve({"points": 3}) == evaluate.LearningCurve(points=3)
    assert curve(False) is None


# ---- what does not match


@pytest.mark.usefixtures("spam")
def test_a_model_of_other_columns_is_refused() -> None:
    ran(split={"target": "kind", "test": 0.4}, train=TREE)
    raw("SELECT range::DOUBLE AS x, 'a' AS kind FROM range(9)", x="number", kind="category")
    split.main()
    assert refusal() == (
        "models/model takes 'noise' as integer, and in data/split it is not there; `dvc repro train` fits it anew"
    )


@pytest.mark.usefixtures("spam")
def test_a_test_part_without_rows_is_refused() -> None:
    ran(split={"target": "kind", "test": 0.4}, train=TREE)
    shutil.rmtree("data/split/test")
    assert refusal() == "data/split/test has no rows to score the model on; see split.test"


def test_labels_that_train_lacks_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    raw("SELECT range::DOUBLE AS x, range AS day, CASE WHEN range > 90 THEN 'new' ELSE 'k' || (range % 3) END AS kind "
        "FROM range(100)", x="number", day="integer", kind="category")  # fmt: skip
    found = ran(
        split={"target": "kind", "test": 0.2, "by": "time", "time": "day"},
        train=TREE,
        evaluate={"metrics": ["accuracy", "log_loss"]},
    )
    assert [*found["test"]] == ["accuracy", "rows"]
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "test: 9 rows have a label that train lacks: 'new'",
        "test: log_loss left out: the model does not know 'new'",
    ]


INFINITE = "CASE WHEN range = 99 THEN 'inf'::DOUBLE ELSE range END"
GAP = "CASE WHEN range < 99 THEN range::DOUBLE END"


@pytest.mark.parametrize(
    ("ratio", "estimator", "line"),
    [
        (INFINITE, TREE, "column 'ratio' holds infinite values; mend them, or make them gaps: fetch.derive"),
        (
            GAP,
            {"estimator": "sklearn.svm.SVC", "features": {"number": {"impute": "none"}}},
            "sklearn.svm.SVC cannot predict: Input X contains NaN.",
        ),
    ],
)
def test_rows_that_the_estimator_refuses_are_one_line(ratio: str, estimator: Any, line: str) -> None:
    raw(f"SELECT {ratio} AS ratio, range AS day, CASE WHEN range % 3 = 0 THEN 'a' ELSE 'b' END AS kind "
        "FROM range(100)", ratio="number", day="integer", kind="category")  # fmt: skip
    write_params(split={"target": "kind", "test": 0.2, "by": "time", "time": "day"}, train=estimator, evaluate={})
    split.main()
    train.main()
    assert refusal() == f"data/split/test: {line}"
    model = models.load()
    own = replace(model, recipe=model.recipe.model_copy(update={"estimator": "stages.own.Estimator"}))
    with pytest.raises(ValueError, match="Input X contains"):
        predictions.predicted(own, tables.read_part("test", tables.read_columns()))


def test_dates_of_any_year_are_hashed_folded_and_predicted() -> None:
    raw("SELECT CASE WHEN range % 2 = 0 THEN TIMESTAMP '9999-12-31' - INTERVAL (range) DAY ELSE TIMESTAMP '0001-01-01' "
        "+ INTERVAL (range) DAY END AS day, range AS x, CASE WHEN range % 3 = 0 THEN 'a' ELSE 'b' END AS kind "
        "FROM range(60)", day="date", x="integer", kind="category")  # fmt: skip
    ran(
        split={"target": "kind", "test": 0.2, "by": "time", "time": "day"},
        train=TREE | {"features": {"include": ["day"]}},
        evaluate={"cross_validation": {"folds": 3}},
    )
    day = datetime(9999, 12, 31) - datetime(1970, 1, 1)
    value = b"\x01" + struct.pack(">q", day.days * 86_400_000_000) + b"\x01" + struct.pack(">q", 0)
    last = pq.read_table(evaluate.PREDICTIONS).to_pylist()[-1]
    assert (last["row"], last["row_hash"]) == (0, sha256(value).hexdigest())


def test_labels_may_hold_any_text() -> None:
    labels = ['a,"b"', "new\nline", "größe ☃", " blank "]
    values = ", ".join(f"({i % 4}, {databases.literal(labels[i % 4])})" for i in range(80))
    raw(f"SELECT * FROM (VALUES {values}) v(x, kind)", x="integer", kind="category")
    found = ran(split={"target": "kind", "test": 0.5, "duplicates": "keep"}, train=TREE | {"hyperparameters": {}})
    assert found["test"]["accuracy"] == 1
    assert sorted({row[0] for row in rows_of("confusion")[1:]}) == sorted(labels)
    assert sorted(pq.read_schema(evaluate.PREDICTIONS).names[4:]) == sorted(f"p_{label}" for label in labels)


# ---- folds


def table_of(**values: Any) -> pa.Table:
    return pa.table(values)


def test_a_group_is_never_on_both_sides_of_a_fold() -> None:
    groups = [f"g{i % 7}" for i in range(50)]
    columns = Columns([Column("g", "category", "group")])
    for fold in folding.folds(columns, table_of(g=groups), np.array(["a", "b"] * 25), 3, 0):
        assert not {groups[i] for i in fold.train} & {groups[i] for i in fold.test}


def test_in_time_a_fold_is_scored_on_later_rows_only() -> None:
    days = [datetime(2020, 1, 1 + (7 * i) % 30) for i in range(30)]
    columns = Columns([Column("day", "date", "time")])
    found = folding.folds(columns, table_of(day=pa.array(days, pa.timestamp("us"))), None, 4, 0)
    assert [(len(fold.train), len(fold.test)) for fold in found] == [(6, 6), (12, 6), (18, 6), (24, 6)]
    for fold in found:
        assert max(days[i] for i in fold.train) < min(days[i] for i in fold.test)


@pytest.mark.parametrize(
    ("columns", "labels", "line"),
    [
        ([Column("g", "category", "group")], None, "the 2 different values of 'g' in train, got 5"),
        ([Column("day", "integer", "time")], None, "the 3 rows after the first in train, got 5"),
        ([], np.array(["a", "b", "b", "b"]), "the 1 rows of 'a' in train, got 5"),
        ([], None, "the 4 rows in train, got 5"),
    ],
)
def test_too_many_folds_are_refused(columns: list[Column], labels: Any, line: str) -> None:
    table = table_of(g=["a", "a", "b", "b"], day=[1, 2, 3, 4])
    with pytest.raises(tables.DataError) as error:
        folding.folds(Columns(columns), table, labels, 5, 0)
    assert str(error.value) == f"params.yaml: evaluate.cross_validation.folds: must be at most {line}"


XY = Columns([Column("x", "number"), Column("t", "text"), Column("y", "integer", "target")])


@pytest.mark.parametrize("labelled", [True, False])
def test_equal_rows_are_in_one_fold(labelled: bool) -> None:
    kinds = np.random.RandomState(1).permutation(np.repeat(np.arange(100), 4))
    x = pa.array(np.where(kinds % 2 == 0, 0.0, kinds), pa.float64(), mask=kinds % 5 == 0)
    table = table_of(x=x, t=[f"t{k // 2}" if k % 3 else None for k in kinds], y=kinds % 2)
    rows = table.to_pylist()
    for fold in folding.folds(XY, table, kinds % 2 if labelled else None, 5, 0):
        assert not {str(rows[i]) for i in fold.train} & {str(rows[i]) for i in fold.test}
        assert sorted([*fold.train, *fold.test]) == list(range(400))


def test_minus_zero_is_zero_and_without_equal_rows_folds_are_scikit_learns() -> None:
    from sklearn.model_selection import KFold

    y = np.arange(40)
    table = table_of(x=np.zeros(40), t=["same"] * 40, y=y)
    for fold, (fit, held) in zip(
        folding.folds(XY, table, None, 4, 7), KFold(4, shuffle=True, random_state=7).split(y), strict=True
    ):
        assert (fold.train.tolist(), fold.test.tolist()) == (fit.tolist(), held.tolist())
    twins = table_of(x=[0.0, -0.0] * 20, t=["same"] * 40, y=y // 2)
    for fold in folding.folds(XY, twins, None, 4, 7):
        assert not set(y[fold.train] // 2) & set(y[fold.test] // 2)


def test_more_folds_than_different_rows_are_refused() -> None:
    table = table_of(x=[1.0] * 10, t=["same"] * 10, y=[0, 1] * 5)
    with pytest.raises(tables.DataError) as error:
        folding.folds(XY, table, np.array([0, 1] * 5), 3, 0)
    assert str(error.value) == (
        "params.yaml: evaluate.cross_validation.folds: equal rows share a fold, and 1 of 3 would have no row; "
        "train has 2 different rows, so take fewer folds"
    )


def test_a_fold_that_cannot_be_fitted_says_why_it_has_such_rows() -> None:
    raw("SELECT range AS x, range AS day, CASE WHEN range > 66 THEN 'yes' ELSE 'no' END AS kind FROM range(100)",
        x="integer", day="integer", kind="category")  # fmt: skip
    sections: dict[str, Any] = {"split": {"target": "kind", "test": 0.2, "time": "day"}, "train": TREE}
    ran(**sections)
    write_params(**sections, evaluate={"cross_validation": {"folds": 3}})
    assert refusal() == (
        "params.yaml: evaluate.cross_validation: fold 1 of 3 (in time order, because of split.time): "
        "the target 'kind' is 'no' in all 20 rows"
    )


def test_a_metric_that_a_fold_lacks_has_no_mean() -> None:
    records = [{"fold": 1, "accuracy": 1.0, "roc_auc": 1.0}, {"fold": 2, "accuracy": 0.5}]
    assert folding.summary(records, ["accuracy", "roc_auc"]) == {"accuracy": 0.75, "accuracy_std": 0.25}


def test_the_learning_curve_grows_to_all_rows_of_its_fold() -> None:
    ran(**IRIS, evaluate={"learning_curve": {"points": 3}, "metrics": ["accuracy"]})
    header, *points = rows_of("learning_curve")
    assert header == ["rows", "train", "held_out", "metric"]
    assert [(point[0], point[3]) for point in points] == [("30", "accuracy"), ("61", "accuracy"), ("91", "accuracy")]
    assert "cv" not in metrics()


def test_the_learning_curve_of_an_ordered_table_is_shuffled() -> None:
    raw("SELECT range AS x, range // 5 AS g, CASE WHEN range > 60 THEN 'yes' ELSE 'no' END AS kind FROM range(100)",
        x="integer", g="integer", kind="category")  # fmt: skip
    ran(
        split={"target": "kind", "test": 0.2, "by": "group", "group": "g"},
        train=TREE,
        evaluate={"learning_curve": True, "metrics": ["accuracy"]},
    )
    assert len(rows_of("learning_curve")) == 6


def test_in_time_the_learning_curve_takes_the_oldest_rows_first() -> None:
    fold = folding.Fold(np.array([3, 1, 2]), np.array([0]))
    assert folding.arrival(Columns([Column("day", "date", "time")]), fold, 0).tolist() == [0, 1, 2]
    assert sorted(folding.arrival(XY, fold, 0).tolist()) == [0, 1, 2]


def test_points_that_cannot_be_fitted_are_left_out_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    raw("SELECT range AS x, CASE WHEN range % 2 = 0 THEN 'a' ELSE 'b' END AS kind FROM range(20)",
        x="integer", kind="category")  # fmt: skip
    sections: dict[str, Any] = {"split": {"target": "kind", "test": 0.2}, "train": TREE}
    ran(**sections, evaluate={"learning_curve": {"points": 12}, "metrics": ["accuracy"]})
    assert [row[0] for row in rows_of("learning_curve")[1:]] == ["4", "5", "6", "8", "9", "10", "11", "12", "13"]
    assert capsys.readouterr().out.splitlines()[-1] == (
        "evaluate.learning_curve: left out at 1, 2, 3 rows: the target 'kind' is 'b' in all 1 rows"
    )


def test_a_learning_curve_of_too_few_rows_is_named() -> None:
    raw("SELECT range AS x, CASE WHEN range < 7 THEN 'a' ELSE 'b' END AS kind FROM range(10)",
        x="integer", kind="category")  # fmt: skip
    sections: dict[str, Any] = {"split": {"target": "kind", "test": 3}, "train": TREE}
    ran(**sections)
    write_params(**sections, evaluate={"learning_curve": True})
    assert refusal() == (
        "params.yaml: evaluate.cross_validation.folds: must be at most the 2 rows of 'b' in train, got 5; "
        "evaluate.learning_curve takes 5 where there is no such key"
    )


# ---- row hashes


def test_a_row_hash_is_the_documented_one() -> None:
    day = datetime(1969, 12, 31, 23, 59, 59, 5)
    table = pa.table(
        {
            "x": pa.array([1.5, None, -0.0, float("nan")], pa.float64()),
            "n": pa.array([-3, 2**62, None, 0], pa.int64()),
            "t": ["é", None, "", "é"],
            "d": pa.array([day, None, day, day], pa.timestamp("us")),
        }
    )
    columns = [Column("x", "number"), Column("n", "integer"), Column("t", "text"), Column("d", "date")]

    def value(form: str, of: Any) -> bytes:
        return b"\x01" + struct.pack(form, of)

    def text(of: str) -> bytes:
        return b"\x01" + sha256(of.encode()).digest()

    moment = value(">q", -1_000_000 + 5)
    expected = [
        value(">d", 1.5) + value(">q", -3) + text("é") + moment,
        bytes(9) + value(">q", 2**62) + bytes(33) + bytes(9),
        value(">d", 0.0) + bytes(9) + text("") + moment,
        bytes(9) + value(">q", 0) + text("é") + moment,
    ]
    assert hashes.row_hashes(table, columns) == [sha256(row).hexdigest() for row in expected]
    assert hashes.row_hashes(pa.concat_tables([table, table]), columns)[4:] == hashes.row_hashes(table, columns)
    assert hashes.row_hashes(table.slice(1, 2), columns) == hashes.row_hashes(table, columns)[1:3]
    assert hashes.row_hashes(table.slice(0, 0), columns) == []


# ---- plots


def test_long_curves_are_thinned_to_a_thousand_points_with_both_ends() -> None:
    random = np.random.RandomState(0)
    marks = random.rand(20_000)
    actual = (random.rand(20_000) < marks).astype(int)
    rows = Predicted(actual, (marks > 0.5).astype(int), [0, 1], 1, np.column_stack([1 - marks, marks]))
    drawn = plots.of_predictions(rows)
    assert {name: len(plot.rows) for name, plot in drawn.items()} == {
        "calibration": 10, "confusion": 4, "precision_recall": 1000, "predicted_actual": 0, "residuals": 0, "roc": 1000,
    }  # fmt: skip
    assert (drawn["roc"].rows[0], drawn["roc"].rows[-1]) == ((1, 0.0, 0.0), (1, 1.0, 1.0))
    numbers = plots.of_predictions(Predicted(marks, marks + 1))
    assert [len(numbers[name].rows) for name in ("residuals", "predicted_actual")] == [1000, 1000]


def test_importances_come_the_weightiest_first() -> None:
    assert plots.importance({"a": 0.1, "c": 0.5, "b": 0.5}).rows == [("b", 0.5), ("c", 0.5), ("a", 0.1)]


@pytest.mark.parametrize(
    ("source", "estimator", "drawn"),
    [
        (
            "sklearn:breast_cancer",
            TREE,
            ["confusion matrix", "ROC", "precision and recall", "calibration", "feature importance", "learning curve"],
        ),
        (
            "sklearn:diabetes",
            {"estimator": "catboost.CatBoostRegressor", "hyperparameters": {"iterations": 20}},
            ["predicted against actual", "residuals", "boosting curve", "feature importance", "learning curve"],
        ),
    ],
)
def test_dvc_draws_every_plot_that_applies_and_complains_of_none(
    repo: Repo, monkeypatch: pytest.MonkeyPatch, source: str, estimator: Any, drawn: list[str]
) -> None:
    monkeypatch.chdir(repo.path)
    shutil.copytree(PROJECT / ".dvc" / "plots", ".dvc/plots", dirs_exist_ok=True)
    ran(
        fetch={"source": source},
        split={"target": "target", "test": 0.3},
        train=estimator,
        evaluate={"learning_curve": {"points": 2}},
    )
    shown = repo.dvc("plots", "show", "--json")
    found = json.loads(shown.stdout)
    assert found.get("errors") is None
    assert shown.stderr == ""
    titles = [plot[0]["content"]["title"]["text"] for plot in found["data"].values() if plot]
    assert titles == drawn
