"""Tables larger than memory: the same model from a file as from memory, batches, and what is refused."""

import datetime as dt
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.utils import all_estimators

from stages import (
    batches,
    boosting,
    columnwise,
    command,
    databases,
    estimators,
    evaluate,
    features,
    fitting,
    hashes,
    incremental,
    memory,
    models,
    params,
    predictions,
    preparing,
    storing,
    tables,
    targets,
    train,
)
from stages.batches import Held, Part
from stages.errors import UserError
from stages.memory import Plan
from stages.preparing import Chosen, Ready
from stages.recipes import Recipe
from stages.tables import Column, Columns
from tests.tabling import write_params
from tests.test_fitting import CLASSES, NUMBERS, ROWS, TABLE

REGRESSOR = "catboost.CatBoostRegressor"
FOREST = "sklearn.ensemble.RandomForestRegressor"
LINEAR = "sklearn.linear_model.LinearRegression"
SGD = "sklearn.linear_model.SGDClassifier"
IN_FILE = Plan("file", streamed=True, dtype=np.float64)
WHOLE = Plan("memory", streamed=False, dtype=np.float64)


def recipe(estimator: str, **section: Any) -> Recipe:
    return params.parse("train", {"estimator": estimator, **section}, Recipe)


def taken(of: Recipe, columns: Columns, table: "pa.Table" = TABLE) -> tuple[Chosen, Held, Any]:
    """What `fitting` gives to `preparing`."""
    rows = Held(table)
    task = estimators.task(estimators.find(of.estimator))
    target = targets.learnable(rows.read([columns.target]), columns.target, task, of.estimator)
    chosen = features.chosen(columns, of.features, of.catboost)
    return preparing.chosen(of, columns.target, chosen, rows), rows, target


def both(of: Recipe, columns: Columns, folder: Path, table: "pa.Table" = TABLE) -> tuple[bytes, bytes, Ready, Ready]:
    """The stored preprocessing and the matrix, fitted whole and by column."""
    chosen, rows, target = taken(of, columns, table)
    (whole, there), (by_column, here) = (preparing.fitted(chosen, rows, target, plan) for plan in (WHOLE, IN_FILE))
    assert by_column.outputs == whole.outputs
    for name, preparation in {"whole": whole, "by_column": by_column}.items():
        storing.dump_skops(preparation.fitted, folder / name)
    return (folder / "whole").read_bytes(), (folder / "by_column").read_bytes(), there, here


@pytest.mark.parametrize(
    "treatments",
    [
        {},
        {"number": {"impute": "constant", "fill_value": 1.5}},
        {"number": {"impute": "most_frequent", "scale": "minmax"}},
        {"number": {"impute": "drop_rows", "scale": "robust"}},
        {"number": {"clip": [0.05, 0.9], "impute": "median"}},
        {"number": {"impute": "median", "bins": 4}},
        {"number": {"impute": "median", "encode": "onehot", "max_categories": 4}},
        {"number": {"impute": "median", "encode": "ordinal", "min_frequency": 10}},
        {"category": {"encode": "ordinal"}, "text": {"encode": "onehot", "min_frequency": 2}},
        {"category": {"encode": "onehot", "impute": "constant", "fill_value": "none"}},
        {"date": {"cyclic": True, "scale": "minmax"}, "columns": {"size": {"drop": True}}},
    ],
)
def test_fitting_column_by_column_stores_the_bytes_of_fitting_whole(
    treatments: dict[str, Any], in_folder: Callable[[], Path]
) -> None:
    whole, by_column, there, here = both(recipe(LINEAR, features=treatments), NUMBERS, in_folder())
    assert by_column == whole
    np.testing.assert_array_equal(here.values, there.values)
    np.testing.assert_array_equal(here.target, there.target)


def test_dates_of_which_one_has_an_hour_are_taken_apart_alike(in_folder: Callable[[], Path]) -> None:
    times = pa.array([dt.datetime(2024, 1, 1) + dt.timedelta(hours=7 * i) for i in range(ROWS)], pa.timestamp("us"))
    table = TABLE.append_column("seen", times)
    columns = Columns([NUMBERS[0], *NUMBERS[4:5], Column("seen", "date"), NUMBERS.target])
    of = recipe(LINEAR, features={"date": {"scale": "minmax"}})
    whole, by_column, there, here = both(of, columns, in_folder(), table)
    assert by_column == whole
    assert here.values.shape == (ROWS, 10)
    np.testing.assert_array_equal(here.values, there.values)


@pytest.mark.parametrize("treatment", [{"scale": "standard", "impute": "median"}, {"impute": "mean"}])
def test_means_by_column_differ_at_most_in_last_digits(
    treatment: dict[str, Any], in_folder: Callable[[], Path]
) -> None:
    _, _, there, here = both(recipe(LINEAR, features={"number": treatment}), NUMBERS, in_folder())
    np.testing.assert_allclose(here.values, there.values, rtol=1e-14, atol=1e-14)


def test_estimators_said_to_take_float32_give_the_same_model_from_it(tmp_path: Path) -> None:
    random = np.random.RandomState(0)
    values = random.rand(400, 5) * 10.0 ** np.arange(-3, 2)
    for name in memory._TREES:
        target = values[:, 0] * 1e3 + values[:, 3]
        if name.endswith("Classifier"):
            target = (target > np.median(target)).astype(int)
        for size in (np.float64, np.float32):
            settings = {"n_estimators": 5} if "ensemble" in name else {}
            fitted = estimators.make(name, settings, 0).fit(values.astype(size), target)
            storing.dump_skops(fitted, tmp_path / f"{np.dtype(size)}")
            np.save(tmp_path / f"{np.dtype(size)}.npy", fitted.predict(values))
        assert (tmp_path / "float32").read_bytes() == (tmp_path / "float64").read_bytes(), name
        assert (tmp_path / "float32.npy").read_bytes() == (tmp_path / "float64.npy").read_bytes(), name


@pytest.mark.parametrize("columns", [CLASSES, NUMBERS])
def test_catboost_gives_the_same_bytes_from_a_file_as_from_memory(
    columns: Columns, in_folder: Callable[[], Path]
) -> None:
    folder = in_folder()
    name = REGRESSOR if columns is NUMBERS else "catboost.CatBoostClassifier"
    of = recipe(name, hyperparameters={"iterations": 10}, features={"text": {"encode": "native"}})
    chosen, rows, target = taken(of, columns, TABLE.slice(0, 90))
    assert {"colour", "note"} <= chosen.categories.keys()
    held = Held(TABLE.slice(90))
    for plan in (WHOLE, Plan("file", streamed=True, dtype=np.float32, order="F")):
        preparation, ready = preparing.fitted(chosen, rows, target, plan)
        validation = targets.values(held.table, columns.target, chosen.task)
        if plan.streamed:
            late = preparing.filled(preparation, held, validation, None, plan)
            assert isinstance(ready.values, np.memmap)
        else:
            late = Ready(preparation.transformed(held.table), validation)
        on = boosting.pools(ready, late, preparation)
        fitted = boosting.fit(of, estimators.make(name, {"iterations": 10}, 0), on)
        storing.dump_catboost(fitted, folder / plan.way)
    assert (folder / "file").read_bytes() == (folder / "memory").read_bytes()


def test_batches_learn_all_rows_and_labels_and_are_the_same_twice() -> None:
    random = np.random.RandomState(0)
    values = random.randn(200_000, 3)
    labels = np.where(values[:, 0] + values[:, 1] > 0, "yes", np.where(values[:, 2] > 2, "maybe", "no"))
    labels[:150_000] = np.where(labels[:150_000] == "maybe", "no", labels[:150_000])  # a label of the last batch only
    of = recipe(SGD, hyperparameters={"class_weight": "balanced"}, epochs=3)
    found = []
    for _ in range(2):
        estimator = estimators.make(SGD, dict(of.hyperparameters), 0)
        found.append(incremental.fit(of, estimator, Ready(values, labels), labelled=True))
    assert found[0].classes_.tolist() == ["maybe", "no", "yes"]
    assert found[0].t_ == 3 * 200_000 + 1
    np.testing.assert_array_equal(found[0].coef_, found[1].coef_)
    assert (found[0].predict(values) == labels).mean() > 0.9


def test_a_batched_naive_bayes_is_that_of_all_rows_at_once() -> None:
    values = np.random.RandomState(0).randn(100_000, 3)
    labels = values[:, 0] > 0
    name = "sklearn.naive_bayes.GaussianNB"
    batched = incremental.fit(recipe(name), estimators.make(name, {}, 0), Ready(values, labels), labelled=True)
    whole = estimators.make(name, {}, 0).fit(values, labels)
    np.testing.assert_allclose(batched.theta_, whole.theta_, rtol=1e-10, atol=1e-12)
    with pytest.raises(UserError, match=r"^params.yaml: train.epochs: .* counts rows, and must see each once"):
        incremental.epochs(recipe(name, epochs=2), batched)


@pytest.mark.filterwarnings("ignore:Class PassiveAggressive:FutureWarning")
def test_every_estimator_with_partial_fit_learns_in_batches() -> None:
    usable = {n: c for n, c in all_estimators() if hasattr(c, "partial_fit") and hasattr(c, "predict")}
    several = {"MultiOutputClassifier", "MultiOutputRegressor", "OneVsOneClassifier", "OneVsRestClassifier"}
    values = np.abs(np.random.RandomState(0).randn(300, 2).round())
    for name, cls in usable.items():
        public = f"{cls.__module__.partition('._')[0]}.{name}"
        if name in several or getattr(cls(), "_estimator_type", None) in ("clusterer", "outlier_detector"):
            continue
        try:
            estimators.find(public)
        except UserError:
            continue
        of = recipe(public)
        assert memory.family(of, cls) == "batches"
        task = estimators.task(cls)
        target = values[:, 0] > 0 if task == "classification" else values[:, 0]
        fitted = incremental.fit(of, estimators.make(public, {}, 0), Ready(values, target), task == "classification")
        assert len(fitted.predict(values)) == 300


SIZE = memory.Size(rows=10_000_000, columns=8, width=8, labels=0)


@pytest.mark.parametrize(
    ("name", "limit", "way"),
    [
        (REGRESSOR, "4GB", "memory"), (REGRESSOR, "2.5GB", "file"),
        (FOREST, "2GB", "memory"), (FOREST, "1.5GB", "file"),
        ("sklearn.ensemble.HistGradientBoostingRegressor", "2GB", "file"),
        ("sklearn.linear_model.SGDRegressor", "1GB", "batches"),
        (LINEAR, "4GB", "memory"),
    ],
)  # fmt: skip
def test_memory_decides_how_a_table_is_held(name: str, limit: str, way: str) -> None:
    of = recipe(name, memory=limit)
    plan = memory.plan(of, estimators.find(name), SIZE, None)
    assert plan.way == way
    assert (plan.note is None) == (way == "memory")


@pytest.mark.parametrize(
    ("section", "whole", "line"),
    [
        ({"estimator": "sklearn.svm.SVR"}, None,
         "params.yaml: train.memory: 10,000,000 rows x 8 columns take about 2.7GB, and train.memory is 1.0GB; "
         "sklearn.svm.SVR takes all rows at once: raise train.memory (to 2.9GB), or take fewer columns "
         "(train.features) or rows (split), or an estimator that learns in batches, such as "
         "sklearn.linear_model.SGDRegressor, or CatBoost"),
        ({"estimator": "sklearn.linear_model.SGDRegressor"}, "train.features: impute: knn",
         "train.features: impute: knn takes all rows at once: raise train.memory"),
        ({"estimator": "sklearn.linear_model.SGDClassifier", "calibrate": True}, None,
         "train.calibrate takes all rows at once"),
        ({"estimator": LINEAR, "epochs": 3}, None, "takes all rows at once"),
        ({"estimator": LINEAR, "epochs": 3, "memory": "4GB"}, None, "train.epochs: is for estimators with partial_fit"),
    ],
)  # fmt: skip
def test_a_table_that_no_way_fits_is_refused_in_a_line(section: dict[str, Any], whole: str | None, line: str) -> None:
    of = recipe(**{"memory": "1GB", **section})
    with pytest.raises(UserError) as refused:
        memory.plan(of, estimators.find(of.estimator), SIZE, whole)
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("size", ["4", "four GB", "-1GB", "0GB", "4gb ", "1e3MB", ""])
def test_a_size_that_is_none_is_refused(size: str) -> None:
    with pytest.raises(UserError, match=r"^params.yaml: train.memory: must be a size such as 500MB, 4GB or 1.5TB, got"):
        recipe(LINEAR, memory=size)


def test_the_default_is_a_share_of_the_machine() -> None:
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < memory.limit(recipe(LINEAR)) <= 0.6 * pages
    assert memory.limit(recipe(LINEAR, memory="1.5 GB")) == 1_500_000_000


def test_keys_that_need_all_rows_are_named() -> None:
    for section, key in (
        ({"pca": 2}, "train.features.pca"),
        ({"number": {"impute": "knn"}}, "train.features: impute: knn"),
        ({"category": {"encode": "target"}}, "train.features: encode: target"),
    ):
        of = recipe(LINEAR, features=section)
        assert columnwise.whole_key(of, features.chosen(NUMBERS, of.features, catboost=False)[1]) == key


def part(folder: Path, files: int = 3, rows: int = ROWS, **changed: Any) -> None:
    """Write the train and test part of `TABLE`'s numbers."""
    table = TABLE.select(["row", "size", "floor", "price"]).slice(0, rows)
    for name in ("train", "test"):
        place = folder / "data/split" / name
        place.mkdir(parents=True)
        for number in range(files):
            pq.write_table(table.slice(number * rows // files, rows // files), place / f"part-{number:03}.parquet")
    columns = Columns(c for c in NUMBERS if c.name in table.column_names)
    tables.write_columns(folder / "data/split/columns.json", columns)
    report = {"rows": {"train": rows, "validation": 0, "test": rows}} | changed
    (folder / "data/split/report.json").write_text(json.dumps(report))


def test_a_part_is_read_in_batches_across_its_files(in_folder: Callable[[], Path]) -> None:
    part(in_folder())
    columns = tables.read_columns()
    rows = Part("train")
    assert rows.num_rows == ROWS
    found = list(rows.batches(columns, size=50))
    assert [table.num_rows for table in found] == [50, 50, 20]
    assert pa.concat_tables(found).to_pylist() == rows.read(columns).to_pylist()
    assert [t.column_names for t in rows.batches([c for c in columns if c.name == "price"], size=500)] == [["price"]]


def test_a_part_of_csv_files_is_read_in_batches(in_folder: Callable[[], Path]) -> None:
    folder = in_folder()
    part(folder)
    columns = tables.read_columns()
    wanted = Part("train").read(columns).to_pylist()
    with databases.connection() as database:
        for path in tables.part_files("train"):
            target = path.with_suffix(".csv")
            database.execute(f"COPY (FROM '{path}') TO '{target}' (FORMAT csv, HEADER, FORCE_QUOTE *, NULLSTR '')")
            path.unlink()
    rows = Part("train")
    assert rows.num_rows == ROWS
    assert pa.concat_tables(rows.batches(columns, size=50)).to_pylist() == wanted


def damaged(path: Path) -> None:
    content = path.read_bytes()
    # The footer stays whole, so that only reading the rows shows the damage.
    path.write_bytes(content[:4] + bytes(len(content) // 3) + content[4 + len(content) // 3 :])


def without_column(path: Path) -> None:
    pq.write_table(pq.read_table(path).drop_columns(["size"]), path)


def with_fewer_rows(path: Path) -> None:
    pq.write_table(pq.read_table(path).slice(1), path)


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def with_gap_in_target(path: Path) -> None:
    table = pq.read_table(path)
    gaps = pa.array([None, *table.column("price").to_pylist()[1:]])
    pq.write_table(table.set_column(table.column_names.index("price"), "price", gaps), path)


def with_nan_in_target(path: Path) -> None:
    table = pq.read_table(path)
    values = pa.array([float("nan"), *table.column("price").to_pylist()[1:]])
    pq.write_table(table.set_column(table.column_names.index("price"), "price", values), path)


@pytest.mark.parametrize(
    ("harm", "line"),
    [
        (damaged, "data/split/train/part-001.parquet cannot be read: "),
        (cut_off, "data/split/train/part-001.parquet cannot be read: "),
        (without_column, "data/split/train/part-001.parquet has no column 'size'; it has: row, floor, price"),
        (with_fewer_rows, "data/split/train holds 119 rows in 3 files, and data/split/report.json says 120; "),
        (with_gap_in_target, "data/split/train: the target 'price' is missing in 1 of 120 rows"),
        (with_nan_in_target, "data/split/train: the target 'price' is missing in 1 of 120 rows"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_damaged_part_is_named(
    harm: Callable[[Path], None], line: str, streamed: bool, in_folder: Callable[[], Path]
) -> None:
    folder = in_folder()
    part(folder)
    harm(folder / "data/split/train/part-001.parquet")
    columns, rows = tables.read_columns(), Part("train")

    def read() -> None:
        if not streamed or harm in (with_gap_in_target, with_nan_in_target):
            fitting.fit(recipe(LINEAR), columns, rows)
        assert rows.num_rows
        list(rows.batches(columns))

    with pytest.raises(UserError) as refused:
        read()
    assert str(refused.value).startswith(line)


def test_predictions_in_batches_are_those_of_all_rows(in_folder: Callable[[], Path]) -> None:
    folder = in_folder()
    random = np.random.RandomState(0)
    count = batches.SIZE + 1000
    table = pa.table({"row": np.arange(count), "x": random.rand(count), "y": random.rand(count)})
    columns = Columns([Column("row", "integer", "row"), Column("x", "number"), Column("y", "number", "target")])
    place = folder / "data/split/test"
    place.mkdir(parents=True)
    pq.write_table(table, place / "part-000.parquet")
    model = fitting.fit(recipe(FOREST, hyperparameters={"n_estimators": 2, "max_depth": 3}), columns, table).model
    seen = predictions.of_rows(model, Part("test"), None, folder / "predictions.parquet")
    whole = predictions.predicted(model, table)
    np.testing.assert_array_equal(seen.actual, whole.actual)
    np.testing.assert_array_equal(seen.predicted, whole.predicted)
    file = pq.ParquetFile(folder / "predictions.parquet")
    assert file.num_row_groups == 2
    written = file.read()
    assert written.column("row").to_pylist() == list(range(count))
    assert written.column("row_hash").to_pylist()[-1] == hashes.row_hashes(table.slice(count - 1), model.columns)[0]
    np.testing.assert_array_equal(written.column("predicted").to_numpy(), whole.predicted)


def large(folder: Path, rows: int = 300_000) -> None:
    """Write parts of a table that is large by `memory.STREAMED`."""
    names = [f"x{i}" for i in range(8)]
    drawn = ", ".join(f"round(random() * 100, 3) AS {name}" for name in names)
    values = f"SELECT *, x0 * x1 / 100 + x2 + 0.1 AS y FROM (SELECT range AS row, {drawn} FROM range(%d))"
    with databases.connection() as database:
        database.execute("SET threads = 1")
        database.execute("SELECT setseed(0.5)")
        for name, count in {"train": rows, "validation": 2000, "test": 2000}.items():
            place = folder / "data/split" / name
            place.mkdir(parents=True)
            database.execute(f"COPY ({values % count}) TO '{place}/part-000.parquet' (FORMAT parquet)")
    features_ = [Column(name, "number") for name in names]
    columns = [Column("row", "integer", "row"), *features_, Column("y", "number", "target")]
    tables.write_columns(folder / "data/split/columns.json", columns)


def test_a_large_table_gives_the_same_model_whatever_memory_it_is_given(
    in_folder: Callable[[], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    large(in_folder())
    sections = {
        REGRESSOR: {"iterations": 5}, FOREST: {"n_estimators": 1, "max_depth": 5},
        "sklearn.ensemble.HistGradientBoostingRegressor": {"max_iter": 5},
    }  # fmt: skip
    for name, settings in sections.items():
        digests = []
        of = recipe(name)
        kind = memory.family(of, estimators.find(name))
        matrix, beside = memory._estimate(kind, memory.Size(302_000, 8, 8, 0))
        least = (memory._BASE + beside + matrix // 2) // 10**6
        for limit in ("100GB", f"{least}MB"):
            write_params(train={"estimator": name, "hyperparameters": settings, "memory": limit})
            train.main()
            said = capsys.readouterr().out
            assert ("the matrix is in a file" in said) == (limit != "100GB")
            files = [models.FOLDER / "preprocess.skops", *models.FOLDER.glob("*estimator.skops")]
            digests.append([path.read_bytes() for path in [*files, *models.FOLDER.glob("model.cbm")]])
        assert digests[0] == digests[1], name
        assert [path.name for path in Path("models").iterdir()] == ["model"]


def test_a_large_table_is_learned_in_batches_and_scored(in_folder: Callable[[], Path]) -> None:
    large(in_folder())
    name, scaled = "sklearn.linear_model.SGDRegressor", {"number": {"scale": "standard"}}
    write_params(train={"estimator": name, "features": scaled, "memory": "330MB"}, evaluate={})
    train.main()
    evaluate.main()
    assert json.loads(Path("reports/metrics.json").read_text())["test"]["r2"] > 0.9


def test_folds_of_a_table_that_does_not_fit_are_refused(in_folder: Callable[[], Path]) -> None:
    large(in_folder())
    columns = tables.read_columns()
    small = Part("validation").read(columns)
    model = fitting.fit(recipe(LINEAR), columns, small).model
    assert evaluate._in_memory(Part("train"), columns, model).column_names == columns.names[1:]
    tight = replace(model, recipe=recipe(LINEAR, memory="50MB"))
    line = (
        "params.yaml: evaluate.cross_validation: holds the train part in memory, 300,000 rows x 9 columns, about 87MB"
    )
    with pytest.raises(UserError, match=line):
        evaluate._in_memory(Part("train"), columns, tight)


def test_a_ctrl_c_in_a_query_is_one(in_folder: Callable[[], Path], capsys: pytest.CaptureFixture[str]) -> None:
    in_folder()

    def main() -> None:
        raise RuntimeError("Query interrupted")  # DuckDB's, now and then

    with pytest.raises(SystemExit) as left:
        command.run(main)
    assert left.value.code == 130
    assert capsys.readouterr().err == "stopped; what was finished is kept, and `dvc repro` goes on from there\n"


def test_too_little_memory_ends_the_stage_with_a_line(
    in_folder: Callable[[], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    part(in_folder())
    write_params(train={"estimator": "sklearn.svm.SVR", "memory": "1MB"})
    with pytest.raises(SystemExit) as left:
        command.run(train.main)
    assert left.value.code == 1
    assert capsys.readouterr().err.startswith("params.yaml: train.memory: 120 rows x 2 columns take about 301MB, and ")
