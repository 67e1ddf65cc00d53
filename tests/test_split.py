"""split: every row in one part, dealt as scikit-learn deals, and clear lines for what cannot be dealt."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from stages import dealing, params, split, tables, twins
from stages.errors import UserError
from stages.tables import Column, DataError
from tests.conftest import shared
from tests.tabling import raw, write_params

FIVE_SEEDS = range(5)


def ran(**section: Any) -> dict[str, list[int]]:
    """Run the stage on these params, and return the row numbers of each part."""
    write_params(split=section)
    split.main()
    return part_rows()


def part_rows() -> dict[str, list[int]]:
    row = [Column(tables.ROW, "integer", "row")]
    return {part: tables.read_part(part, row).column("row").to_pylist() for part in tables.PARTS}


def refusal(**section: Any) -> str:
    """Return the line that the stage ends with."""
    write_params(split=section)
    with pytest.raises(UserError) as error:
        split.main()
    return str(error.value)


def report() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((tables.SPLIT / "report.json").read_text())
    return content


def contents() -> Mapping[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(tables.SPLIT.rglob("*")) if path.is_file()}


@pytest.fixture(autouse=True)
def _in_a_folder(in_folder: Callable[[], Path]) -> None:
    in_folder()


@pytest.fixture
def hundred() -> None:
    """A table of a hundred different rows."""
    raw(
        "SELECT range::DOUBLE AS x, range % 4 AS site, TIMESTAMP '2020-01-01' + INTERVAL (range // 3) DAY AS day, "
        "'id' || range AS id, CASE WHEN range % 5 = 0 THEN 'rare' ELSE 'usual' END AS kind FROM range(100)",
        x="number", site="integer", day="date", id="text", kind="category",
    )  # fmt: skip


# ---- random: scikit-learn's own permutation


@settings(max_examples=200, deadline=None)
@given(rows=st.integers(2, 3000), share=st.floats(0.001, 0.999), seed=st.integers(0, 2**32 - 1))
def test_a_single_share_is_train_test_split(rows: int, share: float, seed: int) -> None:
    try:
        train, test = train_test_split(np.arange(rows), test_size=share, random_state=seed)
    except ValueError:
        with pytest.raises(DataError):
            dealing.sizes(rows, 0, share)
        return
    parts = dealing.at_random(dealing.sizes(rows, 0, share), seed)
    assert {name: part.tolist() for name, part in parts.items()} == {
        "train": train.tolist(),
        "validation": [],
        "test": test.tolist(),
    }


@settings(max_examples=200, deadline=None)
@given(
    rows=st.integers(10, 3000),
    percents=st.tuples(st.integers(1, 49), st.integers(1, 49)),
    seed=st.integers(0, 2**32 - 1),
)
def test_two_shares_are_train_test_split_twice_with_one_seed(rows: int, percents: tuple[int, int], seed: int) -> None:
    validation, test = percents
    try:
        train, holdout = train_test_split(np.arange(rows), test_size=(validation + test) / 100, random_state=seed)
        twice = train_test_split(holdout, test_size=test / (validation + test), random_state=seed)
    except ValueError:
        with pytest.raises(DataError):
            dealing.sizes(rows, validation / 100, test / 100)
        return
    parts = dealing.at_random(dealing.sizes(rows, validation / 100, test / 100), seed)
    assert [part.tolist() for part in parts.values()] == [train.tolist(), twice[0].tolist(), twice[1].tolist()]


@pytest.mark.parametrize("seed", FIVE_SEEDS)
@pytest.mark.parametrize(
    ("ratio", "validation", "test", "counts"),
    [(0.2, 0.16, 0.04, (16512, 3302, 826)), (0.1, 0.09, 0.01, (18576, 1857, 207))],
)
def test_california_is_dealt_as_its_example_deals_it(
    ratio: float, validation: float, test: float, counts: tuple[int, int, int], seed: int
) -> None:
    train, holdout = train_test_split(np.arange(20640), test_size=ratio, random_state=seed)
    published = [train, *train_test_split(holdout, test_size=ratio, random_state=seed)]
    wanted = dealing.sizes(20640, validation, test)
    assert wanted == counts
    dealt = dealing.at_random(wanted, seed)
    assert [part.tolist() for part in dealt.values()] == [part.tolist() for part in published]


@pytest.mark.parametrize(
    ("rows", "test", "wanted"),
    [(150, 0.25, (112, 0, 38)), (10000, 0.3, (7000, 0, 3000)), (178, 0.3, (124, 0, 54)), (731, 0.3, (511, 0, 220))],
)
def test_the_labs_have_the_sizes_of_parity(rows: int, test: float, wanted: tuple[int, int, int]) -> None:
    assert dealing.sizes(rows, 0, test) == wanted


def test_counts_and_shares_may_be_mixed() -> None:
    assert dealing.sizes(100, 20, 0.25) == (55, 20, 25)
    assert dealing.sizes(100, 0.25, 20) == (55, 25, 20)
    assert dealing.sizes(100, 7, 3) == (90, 7, 3)


@pytest.mark.usefixtures("hundred")
def test_the_files_hold_the_rows_in_the_order_of_the_permutation() -> None:
    rows = ran(target="kind", validation=0.2, test=0.1, seed=3)
    train, holdout = train_test_split(np.arange(100), test_size=0.3, random_state=3)
    validation, test = train_test_split(holdout, test_size=1 / 3, random_state=3)
    assert rows == {"train": train.tolist(), "validation": validation.tolist(), "test": test.tolist()}


@pytest.mark.usefixtures("hundred")
def test_every_row_keeps_its_values() -> None:
    ran(target="kind", validation=0.2, test=0.1)
    columns = tables.read_columns()
    for part in tables.PARTS:
        for row in tables.read_part(part, columns).to_pylist():
            assert (row["x"], row["id"], row["site"]) == (row["row"], f"id{row['row']}", row["row"] % 4)


@pytest.mark.usefixtures("hundred")
def test_a_new_seed_deals_other_rows() -> None:
    assert ran(target="kind", test=0.25, seed=0) != ran(target="kind", test=0.25, seed=1)


@pytest.mark.usefixtures("hundred")
def test_the_same_params_give_the_same_bytes() -> None:
    ran(target="kind", test=0.25, files={"train": 3})
    once = contents()
    ran(target="kind", test=0.25, files={"train": 3})
    assert contents() == once


# ---- stratified


@settings(max_examples=100, deadline=None)
@given(
    classes=st.lists(st.integers(0, 3), min_size=20, max_size=200),
    percents=st.tuples(st.integers(0, 49), st.integers(1, 49)),
    seed=st.integers(0, 1000),
)
def test_stratified_is_train_test_split_with_stratify(classes: list[int], percents: tuple[int, int], seed: int) -> None:
    codes = np.unique(classes, return_inverse=True)[1]
    validation, test = percents
    try:
        train, holdout = train_test_split(
            np.arange(len(codes)), test_size=(validation + test) / 100, random_state=seed, stratify=codes
        )
        expected = [train, holdout[:0], holdout]
        if validation:
            share = test / (validation + test)
            expected[1:] = train_test_split(holdout, test_size=share, random_state=seed, stratify=codes[holdout])
    except ValueError:
        with pytest.raises(DataError):
            dealing.stratified(codes, dealing.sizes(len(codes), validation / 100, test / 100), seed)
        return
    dealt = dealing.stratified(codes, dealing.sizes(len(codes), validation / 100, test / 100), seed)
    assert [part.tolist() for part in dealt.values()] == [part.tolist() for part in expected]


@pytest.mark.usefixtures("hundred")
def test_stratified_keeps_the_share_of_each_class() -> None:
    rows = ran(target="kind", validation=0.2, test=0.2, by="stratified")
    assert [(len(part), sum(row % 5 == 0 for row in part)) for part in rows.values()] == [(60, 12), (20, 4), (20, 4)]


def test_stratified_says_which_class_is_too_rare() -> None:
    raw("SELECT range::DOUBLE AS x, 'k' || greatest(range, 2) AS kind FROM range(20)", x="number", kind="category")
    assert refusal(target="kind", test=0.25, by="stratified") == (
        "params.yaml: split.by: stratified needs at least 2 rows of each class in the table, "
        "and 17 of 18 classes have 1"
    )


def test_stratified_says_which_part_is_too_small_for_the_classes() -> None:
    raw("SELECT range::DOUBLE AS x, range % 5 AS kind FROM range(20)", x="number", kind="integer")
    assert refusal(target="kind", test=3, by="stratified") == (
        "params.yaml: split.by: stratified needs a row of each of the 5 classes in test, which gets 3 rows"
    )


# ---- group, time, hash


@pytest.mark.usefixtures("hundred")
def test_a_group_is_in_one_part() -> None:
    rows = ran(target="kind", validation=0.25, test=0.25, by="group", group="site")
    sites = [{row % 4 for row in part} for part in rows.values()]
    assert [len(part) for part in rows.values()] == [50, 25, 25]
    assert sum(len(of_part) for of_part in sites) == 4
    assert all(part == sorted(part) for part in rows.values())


def test_groups_of_different_size_come_as_near_as_whole_groups_allow() -> None:
    groups = np.repeat(np.arange(40), np.arange(1, 41))  # 820 rows
    for seed in FIVE_SEEDS:
        dealt = dealing.in_groups(groups, dealing.Sizes(492, 164, 164), seed)
        assert all(abs(len(part) - wanted) <= 40 for part, wanted in zip(dealt.values(), (492, 164, 164), strict=True))
        assert sorted(np.concatenate(list(dealt.values())).tolist()) == list(range(820))


def test_two_groups_do_not_make_three_parts() -> None:
    raw("SELECT range::DOUBLE AS x, range % 2 AS site, 1.0 AS y FROM range(9)", x="number", site="integer", y="number")
    assert refusal(target="y", validation=2, test=2, by="group", group="site") == (
        "params.yaml: split.by: 3 parts need at least 3 different groups, and there are 2"
    )


def test_the_oldest_rows_train_and_the_newest_test_in_time_order() -> None:
    raw("SELECT 1.0 AS x, TIMESTAMP '2020-01-01' + INTERVAL (7 * range % 10) DAY AS day, 2.0 AS y FROM range(10)",
        x="number", day="date", y="number")  # fmt: skip
    rows = ran(target="y", validation=0.2, test=0.3, by="time", time="day")
    assert rows == {"train": [0, 3, 6, 9, 2], "validation": [5, 8], "test": [1, 4, 7]}


@pytest.mark.usefixtures("hundred")
def test_rows_of_one_time_stay_together() -> None:
    rows = ran(target="kind", validation=0.2, test=0.1, by="time", time="day")
    days = [{row // 3 for row in part} for part in rows.values()]
    assert max(days[0]) < min(days[1])
    assert max(days[1]) < min(days[2])
    assert [len(part) for part in rows.values()] == [69, 21, 10]


@pytest.mark.usefixtures("hundred")
def test_by_hash_a_record_keeps_its_part_when_rows_come_and_go() -> None:
    section = {"target": "kind", "validation": 0.2, "test": 0.2, "by": "hash", "key": "id"}
    before = {f"id{row}": part for part, rows in ran(**section).items() for row in rows}
    raw("SELECT range::DOUBLE AS x, 'id' || (range + 30) AS id, 'usual' AS kind FROM range(200)",
        x="number", id="text", kind="category")  # fmt: skip
    after = {f"id{row + 30}": part for part, rows in ran(**section).items() for row in rows}
    assert all(after[key] == before[key] for key in before.keys() & after.keys())
    assert len(before.keys() & after.keys()) == 70


@pytest.mark.usefixtures("hundred")
def test_the_hash_is_the_documented_one() -> None:
    from hashlib import sha256

    rows = ran(target="kind", test=0.3, seed=7, by="hash", key="id")
    points = [int(sha256(f"7:id{row}".encode()).hexdigest()[:13], 16) / 2**52 for row in range(100)]
    assert rows["test"] == [row for row, point in enumerate(points) if point < 0.3]


@pytest.mark.usefixtures("hundred")
def test_a_larger_validation_takes_rows_from_train_only() -> None:
    section = {"target": "kind", "test": 0.2, "by": "hash", "key": "id"}
    assert ran(**section, validation=0.1)["test"] == ran(**section, validation=0.4)["test"]


# ---- equal rows


def test_the_equal_rows_of_iris_never_stand_on_two_sides() -> None:
    raw(f"SELECT * FROM read_csv('{shared('iris/iris.csv')}')",
        sepal_length="number", sepal_width="number", petal_length="number", petal_width="number", species="category",
    )  # fmt: skip
    twins = {101, 142}
    moved = 0
    for seed in range(12):
        rows = ran(target="species", test=0.25, seed=seed)
        assert any(twins <= set(part) for part in rows.values())
        assert sorted(row for part in rows.values() for row in part) == list(range(150))
        said = report()
        assert (said["apart"], said["dropped"]) == (0, 0)
        moved += said["moved"]
    assert moved > 0


def test_equal_rows_join_the_first_of_their_kind() -> None:
    parts = {"train": np.array([4, 2, 0]), "validation": np.array([], dtype=int), "test": np.array([3, 1, 5])}
    dealt, moved = twins.rejoined(parts, np.array([3, 4, 5]), np.array([0, 1, 3]))
    assert {name: rows.tolist() for name, rows in dealt.items()} == {
        "train": [2, 0, 3],
        "validation": [],
        "test": [1, 5, 4],
    }
    assert moved == 2


def test_equal_rows_are_counted_and_moved() -> None:
    raw("SELECT range % 20 AS x, NULL::DOUBLE AS gap, range AS id, 'a' AS kind FROM range(60)",
        x="integer", gap="number", id="integer", kind="category")  # fmt: skip
    rows = ran(target="kind", test=0.3, key="id")
    assert report() == {
        "rows": {part: len(of_part) for part, of_part in rows.items()},
        "repeated": 40,
        "moved": report()["moved"],
        "apart": 0,
        "dropped": 0,
    }
    assert {row % 20 for row in rows["train"]} & {row % 20 for row in rows["test"]} == set()


def test_minus_zero_equals_zero_and_a_late_date_itself() -> None:
    raw(
        "SELECT CASE WHEN range % 2 = 0 THEN -0.0 ELSE 0.0 END::DOUBLE AS x, DATE '9999-12-31'::TIMESTAMP AS day, "
        "range // 2 AS y FROM range(40)",
        x="number", day="date", y="integer",
    )  # fmt: skip
    ran(target="y", test=0.3)
    assert (report()["repeated"], report()["apart"]) == (20, 0)


def test_keep_leaves_equal_rows_where_they_were_dealt() -> None:
    raw("SELECT range % 20 AS x, 'a' AS kind FROM range(60)", x="integer", kind="category")
    rows = ran(target="kind", test=0.3, duplicates="keep")
    assert [len(part) for part in rows.values()] == [42, 0, 18]
    assert report()["repeated"] == 40
    assert report()["moved"] == 0
    assert report()["apart"] > 0


def test_a_part_that_repeats_others_only_is_refused() -> None:
    raw("SELECT 1 AS x, 'a' AS kind FROM range(10)", x="integer", kind="category")
    assert refusal(target="kind", test=1, seed=0) == (
        "params.yaml: split.duplicates: together leaves test without a row: all its rows (1) repeat "
        "rows of other parts; take a larger split.test or duplicates: keep"
    )


# ---- files


@pytest.mark.usefixtures("hundred")
def test_files_of_a_part_are_near_equal() -> None:
    ran(target="kind", validation=0.2, test=0.03, files={"train": 5, "validation": 3, "test": 1})
    counts = {part: [table_rows(path) for path in tables.part_files(part)] for part in tables.PARTS}
    assert counts == {"train": [16, 16, 15, 15, 15], "validation": [7, 7, 6], "test": [3]}


def table_rows(path: Path) -> int:
    import pyarrow.parquet as pq

    rows: int = pq.read_metadata(path).num_rows
    return rows


def test_a_thousand_files_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    names = [f"part-{number:03}.csv" for number in range(1200)]
    (tmp_path / "train").mkdir()
    for name in reversed(names):
        (tmp_path / "train" / name).touch()
    assert [path.name for path in tables.part_files("train", tmp_path)] == names


@pytest.mark.usefixtures("hundred")
def test_more_files_than_rows_is_refused() -> None:
    assert refusal(target="kind", test=2, files={"test": 3}) == (
        "params.yaml: split.files.test: must be at most the 2 rows of test, got 3"
    )
    assert not tables.SPLIT.exists()


def test_csv_holds_the_same_rows_as_parquet() -> None:
    raw("SELECT * FROM (VALUES (0.1, 1, 'a,\"b\"\nc', TIMESTAMP '2020-01-01 10:00:00.5', 'é'), "
        "(1e300, NULL, '', NULL, 'NULL'), (NULL, -5, ' x ', TIMESTAMP '1950-01-01', 'b'), "
        "(0.30000000000000004, 9007199254740993, NULL, NULL, 'b')) v(x, n, t, d, y)",
        x="number", n="integer", t="text", d="date", y="category")  # fmt: skip
    ran(target="y", test=1)
    columns = tables.read_columns()
    parquet = {part: tables.read_part(part, columns).to_pylist() for part in tables.PARTS}
    ran(target="y", test=1, format="csv")
    assert [path.name for path in tables.part_files("train")] == ["part-000.csv"]
    assert {part: tables.read_part(part, columns).to_pylist() for part in tables.PARTS} == parquet


# ---- roles


@pytest.mark.usefixtures("hundred")
def test_columns_json_says_what_each_column_is_for() -> None:
    ran(target="kind", test=0.25, group="site", time="day", key="id")
    assert {column.name: column.role for column in tables.read_columns()} == {
        "row": "row", "x": "feature", "site": "group", "day": "time", "id": "key", "kind": "target",
    }  # fmt: skip


@pytest.mark.usefixtures("hundred")
def test_columns_that_are_not_there_are_named_with_those_that_are() -> None:
    assert refusal(target="kinds", test=0.25) == (
        "data/raw.parquet has no column 'kinds'; it has: x, site, day, id, kind"
    )


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ({"target": "row"}, "params.yaml: split.target: 'row' is the row number; name a column of the table"),
        (
            {"target": "kind", "by": "time", "time": "id"},
            "params.yaml: split.time: 'id' is of type text, and a time is a date or a number; see fetch.types",
        ),
        (
            {"target": "kind", "by": "hash", "key": "x"},
            "params.yaml: split.key: 'x' is of type number, and a key is an integer, category, text or date; "
            "see fetch.types",
        ),
    ],
)
@pytest.mark.usefixtures("hundred")
def test_a_column_that_does_not_suit_its_role_is_refused(section: dict[str, Any], line: str) -> None:
    assert refusal(test=0.25, **section) == line


@pytest.mark.parametrize("by", ["group", "time"])
def test_a_missing_value_of_the_column_it_goes_by_is_refused(by: str) -> None:
    raw("SELECT 1 AS x, nullif(range % 4, 1) AS g, 2 AS y FROM range(10)", x="integer", g="integer", y="integer")
    assert refusal(target="y", test=0.25, by=by, **{by: "g"}) == (
        f"data/raw.parquet: split.{by}: 'g' is missing in 3 of 10 rows"
    )


def test_rows_without_a_target_are_refused_or_left_out() -> None:
    raw("SELECT range AS x, nullif(range % 4, 1) AS y FROM range(10)", x="integer", y="integer")
    assert refusal(target="y", test=0.25) == (
        "data/raw.parquet: the target 'y' is missing in 3 of 10 rows; "
        "mend them, or leave them out by split.missing_target: drop"
    )
    rows = ran(target="y", test=0.25, missing_target="drop")
    assert sorted(row for part in rows.values() for row in part) == [0, 2, 3, 4, 6, 7, 8]
    assert report()["dropped"] == 3


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ({"test": 100}, "params.yaml: split: test: 100 leave no row to train on; the table has 100 rows"),
        (
            {"validation": 60, "test": 0.4},
            "params.yaml: split: validation: 60 and test: 0.4 leave no row to train on; the table has 100 rows",
        ),
        (
            {"validation": 0.001, "test": 0.004},
            "params.yaml: split.validation: 0.001 beside test: 0.004 gets no row; the table has 100 rows",
        ),
    ],
)
@pytest.mark.usefixtures("hundred")
def test_too_few_rows_are_said_in_the_users_own_numbers(section: dict[str, Any], line: str) -> None:
    assert refusal(target="kind", **section) == line


# ---- params


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ({}, "params.yaml: split.target: is required\nparams.yaml: split.test: is required"),
        (
            {"target": "y", "test": 1.5},
            "params.yaml: split.test: must be less than 1 as a share of all rows, or a whole number of rows, got 1.5",
        ),
        ({"target": "y", "test": -1}, "params.yaml: split.test: must not be negative, got -1"),
        (
            {"target": "y", "test": "a"},
            "params.yaml: split.test: must be a share of all rows such as 0.25, or a number of rows, got 'a'",
        ),
        (
            {"target": "y", "test": True},
            "params.yaml: split.test: must be a share of all rows such as 0.25, or a number of rows, got true",
        ),
        (
            {"target": "y", "test": 0},
            "params.yaml: split: test must be more than 0, to leave rows to score the model on",
        ),
        (
            {"target": "y", "test": 0.5, "validation": 0.5},
            "params.yaml: split: validation + test must be under 1, to leave rows to train on, got 0.5 + 0.5",
        ),
        (
            {"target": "y", "test": 0.5, "by": "group"},
            "params.yaml: split: by: group needs `group`, the name of a column",
        ),
        (
            {"target": "y", "test": 5, "by": "hash", "key": "k"},
            "params.yaml: split: by: hash deals by shares of all rows, and test: 5 is a number of rows",
        ),
        (
            {"target": "y", "test": 5, "group": "y"},
            "params.yaml: split: target and group must be different columns, got 'y' for both",
        ),
        ({"target": "y", "test": 5, "seeds": 1}, "params.yaml: split.seeds is not a key; did you mean seed?"),
    ],
)
def test_a_fault_of_params_is_one_line(section: dict[str, Any], line: str) -> None:
    with pytest.raises(params.ParamsError) as error:
        params.parse("split", section, split.SplitParams)
    assert str(error.value) == line
