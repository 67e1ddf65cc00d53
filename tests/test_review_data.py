"""How two versions of the data differ: rows, columns, drift; and what gives the target away."""

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.tables import Column, Columns, write_columns
from trialtree.review import columnwise, drift, leakage, rowwise
from trialtree.review.rowwise import PartChange

Row = tuple[int, Any, Any]  # number, feature, target


def split(folder: Path, parts: dict[str, Sequence[Row]], kind: str = "integer") -> Path:
    """Write a split of one feature `x` and the target `y`."""
    columns = Columns([Column("row", "integer", "row"), Column("x", kind), Column("y", "category", "target")])  # type: ignore[arg-type]  # a type of a test
    for part, rows in parts.items():
        (folder / part).mkdir(parents=True)
        table = pa.table(
            {name: list(values) for name, values in zip(("row", "x", "y"), zip(*rows, strict=True), strict=True)}
        )
        pq.write_table(table, folder / part / "part-0.parquet")
    write_columns(folder / "columns.json", columns)
    (folder / "report.json").write_text(json.dumps({"rows": {part: len(rows) for part, rows in parts.items()}}))
    return folder


def test_rows_stay_move_change_come_and_go_and_are_counted_once(tmp_path: Path) -> None:
    base = split(tmp_path / "base", {
        "train": [(0, 10, "a"), (1, 11, "a"), (2, 12, "b"), (3, 12, "b")],
        "test": [(4, 14, "a"), (5, 15, "b"), (6, 16, "b")],
    })  # fmt: skip
    head = split(tmp_path / "head", {
        "train": [(0, 10, "a"), (4, 14, "a"), (2, 12, "b")],
        "test": [(1, 11, "a"), (5, 99, "b"), (9, 16, "b"), (7, 17, "a")],
    })  # fmt: skip
    found = rowwise.compare(base, head, tmp_path)
    assert found.parts == [
        PartChange("train", before=4, now=3, stayed=2, moved=1, changed=0, added=0, removed=1),
        PartChange("validation", 0, 0, 0, 0, 0, 0, 0),
        PartChange("test", before=3, now=4, stayed=1, moved=1, changed=1, added=1, removed=0),
    ]
    assert found.learned == 1
    assert rowwise.repeated(head, tmp_path) == 0
    twice = split(tmp_path / "twice", {"train": [(0, 10, "a")], "test": [(1, 10, "b"), (2, 11, "a")]})
    assert rowwise.repeated(twice, tmp_path) == 1


def test_numbers_tell_rows_only_where_too_many_targets_agree_for_chance(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    labels = draw.choice(["a", "b"], 200).tolist()

    def of(name: str, count: int, change: int = 0) -> Path:
        rows = [(n, n + change, labels[n]) for n in range(count)]
        return split(tmp_path / name, {"train": rows[: count // 2], "test": rows[count // 2 :]})

    assert rowwise.same_targets(of("a", 200), of("b", 200, 7))
    assert not rowwise.same_targets(of("c", 200), of("d", 198))
    assert not rowwise.same_targets(of("e", 20), of("f", 20))
    other = split(
        tmp_path / "g", {"train": [(n, n, "a") for n in range(100)], "test": [(n, n, "b") for n in range(100, 200)]}
    )
    assert not rowwise.same_targets(tmp_path / "a", other)


def test_columns_that_came_went_or_changed_their_type_are_told() -> None:
    base = Columns([Column("a", "number"), Column("b", "integer"), Column("c", "text")])
    head = Columns([Column("a", "number"), Column("b", "number"), Column("d", "text")])
    assert columnwise.changed(base, head) == {
        "added": [Column("d", "text")], "removed": [Column("c", "text")], "of another type": [Column("b", "number")],
    }  # fmt: skip


# Drift.


def test_the_index_is_that_of_its_definition() -> None:
    base, head = np.array([100, 200, 700]), np.array([300, 300, 400])
    before, now = (base + 0.5) / 1001.5, (head + 0.5) / 1001.5
    chance = 2 * (1 / 1000 + 1 / 1000)
    assert drift.index(base, head) == pytest.approx(((now - before) * np.log(now / before)).sum() - chance)
    assert drift.index(base, base) == 0.0
    assert drift.index(np.array([5]), np.array([0])) == 0.0


def numbers(values: Sequence[Any], kind: str = "double") -> pa.ChunkedArray:
    """Return values as a column."""
    return pa.chunked_array([pa.array(values, pa.type_for_alias(kind))])


def test_numbers_that_moved_have_drifted_and_gaps_are_a_bin_of_their_own() -> None:
    draw = np.random.default_rng(0)
    base = draw.normal(size=5000)
    same = drift.drift(Column("x", "number"), numbers(base), numbers(draw.normal(size=5000)))
    assert same.index < 0.01
    assert same.sparks is not None
    assert len(same.sparks[0]) == len(same.sparks[1]) == 10
    assert drift.drift(Column("x", "number"), numbers(base), numbers(base + 1)).index > drift.LARGE
    gaps = drift.drift(Column("x", "number"), numbers(base), numbers([None, *base[1:2500], *[None] * 2500]))
    assert gaps.missing == (0.0, pytest.approx(0.5, abs=0.001))
    assert gaps.index > drift.LARGE


@pytest.mark.parametrize(
    ("base", "head"),
    [([5] * 500, [3] * 500), ([1, 2] * 250, [0, 2] * 250), ([1] * 475 + [9] * 25, [0] * 475 + [9] * 25)],
)
def test_few_values_that_moved_down_have_drifted_too(base: list[int], head: list[int]) -> None:
    assert drift.drift(Column("x", "integer"), numbers(base, "int64"), numbers(head, "int64")).index > drift.LARGE
    assert drift.drift(Column("x", "number"), numbers(base), numbers(head)).index > drift.LARGE


@pytest.mark.parametrize("levels", [50, 300, 1000])
def test_many_categories_do_not_drift_by_chance(levels: int) -> None:
    draw = np.random.default_rng(0)
    base, head = (numbers([str(n) for n in draw.integers(levels, size=1000)], "string") for _ in range(2))
    assert drift.drift(Column("k", "category"), base, head).index < drift.SOME


def test_dates_and_constant_columns_have_a_middle_and_no_spread_of_one_value() -> None:
    days = [datetime(2026, 1, day) for day in range(1, 29)]
    found = drift.drift(Column("d", "date"), numbers(days, "timestamp[us]"), numbers(days, "timestamp[us]"))
    assert (found.index, found.middle) == (0.0, ("2026-01-14T12:00:00", "2026-01-14T12:00:00"))
    one = drift.drift(Column("x", "integer"), numbers([3] * 9, "int64"), numbers([3] * 5, "int64"))
    assert (one.index, one.middle, one.sparks) == (0.0, ("3", "3"), None)
    none = drift.drift(Column("x", "number"), numbers([None] * 9), numbers([None] * 5))
    assert (none.index, none.missing) == (0.0, (1.0, 1.0))


def test_values_that_are_new_or_gone_are_named() -> None:
    base, head = numbers(["a"] * 50 + ["b"] * 50, "string"), numbers(["a"] * 50 + ["c"] * 50 + [None], "string")
    found = drift.drift(Column("k", "category"), base, head)
    assert (found.new, found.gone, found.middle) == (["c"], ["b"], ("a", "a"))
    assert found.index > drift.LARGE


# What gives the target away.


@pytest.mark.parametrize("kind", ["text", "number"])
def test_a_column_that_repeats_the_target_gives_it_away(kind: str) -> None:
    draw = np.random.default_rng(0)
    target = draw.choice(["yes", "no"], 600)
    values = numbers([f"{t[0]}{n % 5}" for n, t in enumerate(target)], "string")
    if kind == "number":
        values = numbers(np.where(target == "yes", 5.0, 1.0) + draw.normal(0, 0.1, 600))
    found = leakage.gives_away(target, values, classes=True)
    assert found is not None
    assert found >= 0.99
    for amounts in (draw.normal(size=600), draw.lognormal(0, 2, 600)):
        assert leakage.gives_away(amounts, numbers(3 * amounts + 1), classes=False) == pytest.approx(1.0, abs=0.01)


def test_a_number_that_separates_the_classes_at_a_border_gives_them_away() -> None:
    draw = np.random.default_rng(0)
    target = draw.choice(["yes", "no"], 600)
    risk = np.where(target == "yes", 0.5, 0.0) + draw.uniform(0, 0.5, 600)
    assert leakage.gives_away(target, numbers(risk), classes=True) is not None


def test_what_only_helps_or_names_each_row_gives_nothing_away() -> None:
    draw = np.random.default_rng(0)
    target = draw.choice(["yes", "no"], 600)
    noisy = np.where(target == "yes", 1.0, 0.0) + draw.normal(0, 0.5, 600)
    assert leakage.gives_away(target, numbers(noisy), classes=True) is None
    assert leakage.gives_away(target, numbers([str(n) for n in range(600)], "string"), classes=True) is None
    assert leakage.gives_away(np.array(["a"] * 600), numbers(noisy), classes=True) is None
    rare = np.where(np.arange(1000) < 5, "yes", "no")
    assert leakage.gives_away(rare, numbers([1.0] * 1000), classes=True) is None
    amounts = draw.normal(size=2000)
    assert leakage.gives_away(amounts, numbers(amounts + draw.normal(0, 0.3, 2000)), classes=False) is None
    assert leakage.gives_away(np.ones(100), numbers(np.arange(100.0)), classes=False) is None


def test_ids_are_known_by_role_name_or_number_and_counted_where_both_parts_have_them() -> None:
    many, few = numbers([f"u{n}" for n in range(100)], "string"), numbers(["a", "b"] * 50, "string")
    counts = numbers(range(100), "int64")
    assert leakage.names_things(Column("x", "text", "group"), few)
    assert leakage.names_things(Column("x", "text"), many)
    assert leakage.names_things(Column("customer_id", "integer"), counts)
    assert leakage.names_things(Column("customerId", "integer"), counts)
    assert not leakage.names_things(Column("paid", "integer"), counts)
    assert not leakage.names_things(Column("x", "category"), few)
    assert not leakage.names_things(Column("x_id", "number"), numbers(np.arange(9.0)))
    assert leakage.in_both(numbers(["a", "b", None], "string"), numbers(["a", "a", "c", None], "string")) == 2
