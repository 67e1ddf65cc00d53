"""Rows of requests: every form gives the same matrix as the model's own tables, or says what is wrong and where."""

import csv
import datetime as dt
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.matrices import matrix
from stages.tables import Column, Columns
from tests import serving
from trialtree.serving import arrow, cells, rows, texts
from trialtree.serving.cells import Taken
from trialtree.serving.columns import Field, Schema
from trialtree.serving.faults import Refused, shown

COLOURS = ("blue", "grün", 'red, "deep"', "true")
SCHEMA = Schema((
    Field("width", "number"), Field("size", "number", gaps=True), Field("floor", "integer"),
    Field("colour", "category", COLOURS, gaps=True), Field("sold", "date", gaps=True),
    Field("note", "text", ("a", "b")),
))  # fmt: skip
NUMBERS = Schema((Field("a", "number"), Field("b", "number"), Field("c", "number")))
GOOD = {"width": 1.5, "size": 2, "floor": 3, "colour": "grün", "sold": "2026-11-29", "note": "b"}
GOOD_VALUES = [1.5, 2.0, 3.0, 1.0, 20786.0, 1.0]
ARROW = {"number": pa.float64(), "integer": pa.int64(), "category": pa.string(), "text": pa.string(),
         "date": pa.timestamp("us")}  # fmt: skip


def written(records: list[dict[str, Any]], names: Any = SCHEMA.names, header: bool = True) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    if header:
        writer.writerow(names)
    for record in records:
        cells_ = [record[name] for name in names]
        writer.writerow([json.dumps(c) if isinstance(c, int | float) and c is not True else c for c in cells_])
    return text.getvalue().encode()


def as_arrow(records: list[dict[str, Any]]) -> pa.Table:
    return pa.table({
        f.name: pa.array(
            [dt.datetime.fromisoformat(r[f.name]) if f.type == "date" and r[f.name] else r[f.name] for r in records],
            ARROW[f.type],
        )
        for f in SCHEMA.fields
    })  # fmt: skip


def every_form(records: list[dict[str, Any]]) -> dict[str, Taken]:
    """Return what each form gives of the same rows."""
    lists = [list(record.values()) for record in records]
    turned = list(reversed(SCHEMA.names))
    return {
        "lists": rows.from_lists(SCHEMA, lists, None),
        "named lists": rows.from_lists(SCHEMA, [record[::-1] for record in lists], None, turned),
        "records": rows.from_records(SCHEMA, records, None),
        "turned records": rows.from_records(SCHEMA, [{name: r[name] for name in turned} for r in records], None),
        "columns": rows.from_columns(SCHEMA, {n: [r[n] for r in records] for n in turned}, None),
        "csv": texts.read(SCHEMA, written(records), None)[0],
        "csv without header": texts.read(SCHEMA, written(records, header=False), None, header=False)[0],
        "csv of windows": texts.read(SCHEMA, b"\xef\xbb\xbf" + written(records).replace(b"\n", b"\r\n"), None)[0],
        "turned csv": texts.read(SCHEMA, written(records, turned), None)[0],
    }


def test_every_form_gives_the_same_matrix() -> None:
    records = [GOOD, {**GOOD, "size": None, "colour": None, "sold": None}, {**GOOD, "colour": COLOURS[2]}]
    forms = {**every_form(records), "arrow": arrow.taken(SCHEMA, as_arrow(records))}
    gaps = [1.5, math.nan, 3.0, math.nan, math.nan, 1.0]
    wanted = [GOOD_VALUES, gaps, [*GOOD_VALUES[:3], 2.0, *GOOD_VALUES[4:]]]
    for name, taken in forms.items():
        assert np.array_equal(taken.values, wanted, equal_nan=True), name
        assert not taken.faults, name


def test_the_matrix_is_the_one_that_training_has() -> None:
    columns = Columns([Column(f.name, f.type) for f in SCHEMA.fields])
    categories = {f.name: f.categories for f in SCHEMA.fields if f.categories}
    table = as_arrow([GOOD, {**GOOD, "size": None, "note": "new", "sold": "1969-12-31T23:59:59.999999"}])
    assert np.array_equal(arrow.taken(SCHEMA, table).values, matrix(table, columns, categories), equal_nan=True)


FAULTS = [
    ("width", None, "row 1, column 'width': is missing, and the table that the model was trained on had no gap here"),
    ("width", "1.5", "row 1, column 'width': must be a number, got text '1.5'"),
    ("width", True, "row 1, column 'width': must be a number, got true"),
    ("width", [1], "row 1, column 'width': must be a number, got a list"),
    ("width", {"a": 1}, "row 1, column 'width': must be a number, got an object"),
    ("size", "x" * 100, f"row 1, column 'size': must be a number, got text '{'x' * 40}...'"),
    ("floor", 1.5, "row 1, column 'floor': must be a whole number, got 1.5"),
    ("floor", 2**53 + 1, f"row 1, column 'floor': {cells._LARGE}"),
    ("floor", -(2**63), f"row 1, column 'floor': {cells._LARGE}"),
    ("colour", "pink", "row 1, column 'colour': has no category 'pink'; it has: blue, grün, red, \"deep\", true"),
    ("colour", 3, "row 1, column 'colour': must be a text, got 3"),
    ("sold", "yesterday", "row 1, column 'sold': must be an ISO 8601 date, got 'yesterday'"),
    ("sold", 20260101, "row 1, column 'sold': must be an ISO 8601 date, got 20260101"),
    ("note", 1.0, "row 1, column 'note': must be a text, got 1.0"),
    ("note", None, "row 1, column 'note': is missing, and the table that the model was trained on had no gap here"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "said"), FAULTS, ids=[f"{name}-{str(v)[:9]}" for name, v, _ in FAULTS])
def test_a_cell_that_is_not_taken_is_named(name: str, value: Any, said: str) -> None:
    records = [GOOD, {**GOOD, name: value}]
    lists = [list(record.values()) for record in records]
    for taken in (
        rows.from_lists(SCHEMA, lists, None), rows.from_records(SCHEMA, records, None),
        rows.from_columns(SCHEMA, {n: [r[n] for r in records] for n in SCHEMA.names}, None),
    ):  # fmt: skip
        assert [str(fault) for fault in taken.faults] == [said]
        assert np.isnan(taken.values[1][SCHEMA.places[name]])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_are_refused(value: float) -> None:
    taken = rows.from_lists(NUMBERS, [[1.0, 2.0, value]], None)
    assert [str(fault) for fault in taken.faults] == ["row 0, column 'c': must be finite"]


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("abc", "must be a number, got 'abc'"), ("1,5", None), ("0x10", "must be a number, got '0x10'"),
        ("1_000", "must be a number, got '1_000'"), ("inf", "must be finite"), ("-Infinity", "must be finite"),
        ("1e999", "must be finite"), ("nan", cells.GAP), ("NaN", cells.GAP), ("", cells.GAP),
        ("١", "must be a number, got '١'"),
        (" 2.5 ", 2.5), ("+1", 1.0), (".5", 0.5), ("5.", 5.0), ("1E3", 1000.0), ("00012", 12.0), ("1e-0002", 0.01),
    ],
)  # fmt: skip
def test_a_number_of_csv_is_what_a_number_is(cell: str, said: Any) -> None:
    if said is None:  # a comma parts cells
        taken, _ = texts.read(NUMBERS, f"1,2,{cell}\n".encode(), None)
        assert [str(fault) for fault in taken.faults] == ["row 0: must have 3 values, has 4"]
        return
    for body in (f"1,2,{cell}\n", f'1,2,"{cell}"\n', f"a,b,c\n1,2,{cell}", f"c,a,b\n{cell},1,2"):
        taken, header = texts.read(NUMBERS, body.encode(), None)
        assert header == (body[0] in "ac")
        if isinstance(said, str):
            assert [str(fault) for fault in taken.faults] == [f"row 0, column 'c': {said}"]
        else:
            assert taken.values.tolist() == [[1.0, 2.0, said]]


def test_a_line_is_a_header_when_half_of_it_names_columns() -> None:
    schema = Schema((Field("a", "number"), Field("b", "number"), Field("c", "category", ("a", "x"))))
    for body, header in (("1,2,a\n", False), ("a,b,c\n1,2,a", True), ("a,b,d\n1,2,a", True), ("c,a,b\na,1,2", True)):
        taken, found = texts.read(schema, body.encode(), None)
        assert found == header
        if "d" not in body:
            assert taken.values.tolist() == [[1, 2, 0]]


@pytest.mark.parametrize("type_", ["number", "integer"])
def test_gaps_of_csv_are_empty_cells_and_no_other_text(type_: Any) -> None:
    schema = Schema((Field("n", type_, gaps=True), Field("m", "number")))
    for cell, fault in (("", False), ("nan", False), ("null", True), ("nul", True), ("None", True)):
        for body in (f"{cell},1", f"{cell},1\n2,1\n,1\n", f"n,m\n3,1\n{cell},1"):
            taken, _ = texts.read(schema, body.encode(), None)
            assert bool(taken.faults) == fault, body
            assert np.isnan(taken.values[:, 0]).any()
    alone, _ = texts.read(Schema((Field("n", type_),)), b'n\n""\n', None)
    assert [str(each) for each in alone.faults] == [f"row 0, column 'n': {cells.GAP}"]


def test_whole_numbers_of_csv_are_looked_at_before_they_are_rounded() -> None:
    schema = Schema((Field("n", "integer"), Field("m", "integer")))
    taken, _ = texts.read(schema, f"{2**53},-{2**53}\n{2**53 + 1},0\n1.5,1e3\n{'9' * 5000},1".encode(), None)
    assert taken.values[:2].tolist()[0] == [2.0**53, -(2.0**53)]
    assert [(fault.row, fault.column) for fault in taken.faults] == [(1, "n"), (2, "n"), (3, "n")]
    assert taken.values[2, 1] == 1000


def test_whole_numbers_of_arrow_are_looked_at_before_they_are_rounded() -> None:
    schema = Schema((Field("n", "integer", gaps=True),))
    for values in ([1, 2**53 + 1, None], [1, -(2**63), 2]):
        taken = arrow.taken(schema, pa.table({"n": pa.array(values, pa.int64())}))
        assert [(fault.row, fault.column) for fault in taken.faults] == [(1, "n")]


@pytest.mark.parametrize(
    ("date", "days"),
    [
        ("1970-01-01", 0), ("2026-11-29T12:00:00", 20786.5), ("2026-11-29T12:00:00Z", 20786.5),
        ("2026-11-29T13:00:00+01:00", 20786.5), ("0001-01-01", -719162), ("9999-12-31", 2932896), ("20261129", 20786),
    ],
)  # fmt: skip
def test_dates_are_days_of_utc(date: str, days: float) -> None:
    for taken in (rows.from_records(SCHEMA, [{**GOOD, "sold": date}], None),
                  texts.read(SCHEMA, written([{**GOOD, "sold": date}]), None)[0]):  # fmt: skip
        assert taken.values[0, 4] == days
    zone = dt.datetime.fromisoformat(date)
    kind = pa.timestamp("us", "UTC") if zone.tzinfo else pa.timestamp("us")
    table = as_arrow([GOOD]).set_column(4, "sold", pa.array([zone], kind))
    assert arrow.taken(SCHEMA, table).values[0, 4] == days


@pytest.mark.parametrize(
    "date", ["0001-01-01T00:00:00+05:00", "2026-13-01", "12:00", "", "2026-11-29x", "１９７０-01-01"]
)
def test_what_is_no_date_is_refused_or_a_gap(date: str) -> None:
    taken = rows.from_records(SCHEMA, [{**GOOD, "sold": date}], None)
    assert math.isnan(taken.values[0, 4])
    assert len(taken.faults) == (date != "")


@pytest.mark.parametrize(
    ("rows_", "said"),
    [
        ([[1, 2]], "row 0: must have 3 values, has 2"),
        ([[1, 2, 3], [1, 2, 3, 4]], "row 1: must have 3 values, has 4"),
        ([[1, 2, 3], {"a": 1}], "row 1: must be a list of 3 values, got an object"),
        ([[1, 2, 3], 7, "x"],
         "row 1: must be a list of 3 values, got 7|row 2: must be a list of 3 values, got text 'x'"),
    ],
)  # fmt: skip
def test_a_row_of_another_length_is_named(rows_: list[Any], said: str) -> None:
    assert "|".join(map(str, rows.from_lists(NUMBERS, rows_, None).faults)) == said


def test_columns_too_many_too_few_and_twice_are_named() -> None:
    names = "there is no column 'd'; the model takes: a, b, c"
    for given_names, said in (
        (["a", "b", "c", "d"], [names]), (["a", "b"], ["column 'c': is missing"]),
        (["a", "b", "c", "c"], ["column 'c': is there twice"]), (["a", "d", "c"], [names, "column 'b': is missing"]),
        (["a", "b", 3], ["a column's name must be a text, got 3", "column 'c': is missing"]),
    ):  # fmt: skip
        taken = rows.from_lists(NUMBERS, [[1] * len(given_names)], None, given_names)
        assert [str(fault) for fault in taken.faults] == said
    record = {"a": 1, "b": 2, "d": 3}
    assert [str(fault) for fault in rows.from_records(NUMBERS, [record], None).faults] == [
        f"row 0: {names}", "row 0, column 'c': is missing",
    ]  # fmt: skip
    assert [str(fault) for fault in rows.from_columns(NUMBERS, {"a": [1], "b": [1, 2], "c": 3}, None).faults] == [
        "column 'c': must be a list of values, got 3"
    ]
    assert [str(fault) for fault in rows.from_columns(NUMBERS, {"a": [1], "b": [1, 2], "c": [3, 4]}, None).faults] == [
        "column 'a': has 1 values, and another column has 2"
    ]
    assert [str(f) for f in texts.read(NUMBERS, b"a,b,d\n1,2,3\n", None)[0].faults] == [names, "column 'c': is missing"]


def test_a_column_that_may_have_gaps_may_be_left_out() -> None:
    record = {k: v for k, v in GOOD.items() if k not in ("size", "sold")}
    table = as_arrow([GOOD]).drop_columns(["size", "sold"])
    for taken in (
        rows.from_records(SCHEMA, [record, GOOD], None),
        rows.from_columns(SCHEMA, {k: [v] for k, v in record.items()}, None),
        rows.from_lists(SCHEMA, [list(record.values())], None, list(record)), arrow.taken(SCHEMA, table),
        texts.read(SCHEMA, written([record], list(record)), None)[0],
    ):  # fmt: skip
        assert not taken.faults
        assert np.isnan(taken.values[0]).tolist() == [False, True, False, False, True, False]
    with pytest.raises(Refused, match="column 'floor': is missing"):
        arrow.taken(SCHEMA, table.drop_columns(["floor"]))


def test_names_with_blanks_quotes_and_line_ends_are_found_in_csv() -> None:
    schema = Schema(tuple(Field(name, "number") for name in serving.ODD))
    record = dict(zip(serving.ODD, (1, 2, 3, 4, 5), strict=True))
    for body in (written([record], serving.ODD), written([record], serving.ODD).replace(b"\n1,", b"\r\n1,")):
        taken, header = texts.read(schema, body, None)
        assert (header, taken.values.tolist()) == (True, [[1, 2, 3, 4, 5]])


def test_categories_with_blanks_or_of_nothing_are_found_in_every_form() -> None:
    schema = Schema((Field("c", "category", ("", " a ", "b"), gaps=True),))
    for values, wanted in (([" a ", "b", ""], [1, 2, 0]), ([" a ", "", None], [1, 0, math.nan])):
        taken = [rows.from_lists(schema, [[v] for v in values], None), arrow.taken(schema, pa.table({"c": values}))]
        taken += [rows.from_records(schema, [{"c": v} for v in values], None)]
        for each in taken:
            assert np.array_equal(each.values[:, 0], wanted, equal_nan=True)
    found, _ = texts.read(schema, b'c\n" a "\n b \n""\n', None)
    assert found.values[:, 0].tolist() == [1, 2, 0]


def test_blanks_around_a_category_mean_nothing_as_in_training() -> None:
    values = [" b ", "b", "\u00a0 c", " a "]
    for fields, wanted in (
        (Field("c", "category", (" a ", "b", "c")), [1, 1, 2, 0]), (Field("c", "text", ("b",)), [0, 0, 1, 1]),
    ):  # fmt: skip
        schema = Schema((fields,))
        coded = pa.table({"c": pa.array(values).dictionary_encode()})
        for taken in (rows.from_lists(schema, [[v] for v in values], None), arrow.taken(schema, coded),
                      arrow.taken(schema, pa.table({"c": values}))):  # fmt: skip
            assert not taken.faults
            assert taken.values[:, 0].tolist() == wanted
    for gaps in (True, False):
        schema = Schema((Field("c", "category", ("b",), gaps=gaps),))
        for taken in (rows.from_lists(schema, [["b"], [" "]], None), arrow.taken(schema, pa.table({"c": ["b", " "]}))):
            assert np.array_equal(taken.values[:, 0], [0, math.nan], equal_nan=True)
            assert [str(fault) for fault in taken.faults] == ([] if gaps else [f"row 1, column 'c': {cells.GAP}"])
    (fault,) = rows.from_lists(schema, [[" pink "]], None).faults
    assert str(fault) == "row 0, column 'c': has no category 'pink'; it has: b"


def test_truth_as_pandas_writes_it_is_a_boolean_feature() -> None:
    schema = Schema((Field("c", "category", ("false", "true")),))
    values = ["True", "False", "TRUE", "FALSE", "true", " False "]
    for taken in (texts.read(schema, "\n".join(["c", *values]).encode(), None)[0],
                  arrow.taken(schema, pa.table({"c": values}), texts=True),
                  rows.from_lists(schema, [[v] for v in values], None)):  # fmt: skip
        assert not taken.faults
        assert taken.values[:, 0].tolist() == [1, 0, 1, 0, 1, 0]
    assert texts.read(schema, b"c\ntRue\n", None)[0].faults
    more = Schema((Field("c", "category", ("false", "maybe", "true")),))
    assert texts.read(more, b"c\nTrue\n", None)[0].faults


def test_a_quote_within_a_cell_of_the_first_row_opens_nothing() -> None:
    schema = Schema((Field("c", "category", ('5" nail', "b")), Field("n", "number")))
    for body in (b'5" nail,1\nb,2\n', b'c,n\n5" nail,1\nb,2\n'):
        taken, _ = texts.read(schema, body, None)
        assert taken.values.tolist() == [[0, 1], [1, 2]]


def test_unknown_categories_are_taken_where_that_is_asked_for() -> None:
    schema = Schema(SCHEMA.fields, unknown=True)
    record = {**GOOD, "colour": "pink", "note": "new"}
    table = as_arrow([record])
    for taken in (rows.from_records(schema, [record], None), texts.read(schema, written([record]), None)[0],
                  arrow.taken(schema, table)):  # fmt: skip
        assert not taken.faults
        assert taken.values[0, 3] == len(COLOURS)
        assert taken.values[0, 5] == 2


def test_truth_is_a_category_of_its_json_text() -> None:
    table = as_arrow([GOOD]).set_column(3, "colour", pa.array([True]))
    assert rows.from_records(SCHEMA, [{**GOOD, "colour": True}], None).values[0, 3] == 3
    assert arrow.taken(SCHEMA, table).values[0, 3] == 3


@pytest.mark.parametrize(
    "kind",
    [pa.int8(), pa.uint64(), pa.float16(), pa.float32(), pa.decimal128(30, 2), pa.decimal256(40, 2),
     pa.dictionary(pa.int8(), pa.int64()), pa.dictionary(pa.int32(), pa.float32())],
    ids=str,
)  # fmt: skip
def test_every_type_of_number_of_arrow_is_taken(kind: pa.DataType) -> None:
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    values = pa.array([1, None, 3], pa.int64()).cast(pa.float64() if pa.types.is_float16(inner) else inner)
    column = values.dictionary_encode() if pa.types.is_dictionary(kind) else values.cast(kind)
    for type_ in ("number", "integer"):
        taken = arrow.taken(Schema((Field("n", type_, gaps=True),)), pa.table({"n": column}))
        assert np.array_equal(taken.values[:, 0], [1, np.nan, 3], equal_nan=True)
        assert [str(f) for f in arrow.taken(Schema((Field("n", type_),)), pa.table({"n": column})).faults] == [
            f"row 1, column 'n': {cells.GAP}"
        ]


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string()),
     pa.dictionary(pa.int32(), pa.large_string())],
    ids=str,
)  # fmt: skip
def test_every_type_of_text_of_arrow_is_taken(kind: pa.DataType) -> None:
    values = pa.array(["b", None, "zz", "b"])
    column = values.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else values.cast(kind)
    chunked = pa.chunked_array([column, column.slice(1, 2)])
    schema = Schema((Field("c", "category", ("a", "b"), gaps=True),))
    taken = arrow.taken(schema, pa.table({"c": chunked}))
    assert np.array_equal(taken.values[:, 0], [1, np.nan, np.nan, 1, np.nan, np.nan], equal_nan=True)
    assert [(f.row, f.reason) for f in taken.faults] == [(i, "has no category 'zz'; it has: a, b") for i in (2, 5)]
    date = Schema((Field("c", "date", gaps=True),))
    assert len(arrow.taken(date, pa.table({"c": chunked})).faults) == 4
    number = arrow.taken(Schema((Field("c", "number", gaps=True),)), pa.table({"c": chunked}))
    assert str(number.faults[0]).startswith("column 'c': must be a number, and is of type ")


@pytest.mark.parametrize(
    "column",
    [pa.array([[1]]), pa.array([{"a" * 500: 1}]), pa.array([b"x"]), pa.array([dt.time(1)]), pa.array([dt.timedelta(1)]),
     pa.RunEndEncodedArray.from_arrays([1], [1.0]), pa.array([[1.0, 2.0]], pa.list_(pa.float64(), 2)),
     pa.array([None], pa.map_(pa.string(), pa.int64()))],
    ids=lambda column: str(column.type)[:20],
)  # fmt: skip
def test_any_other_type_of_arrow_is_refused_in_a_short_line(column: pa.Array) -> None:
    for field in (
        Field("c", "number"),
        Field("c", "date"),
        Field("c", "category", ("a",)),
        Field("c", "text", gaps=True),
    ):
        (fault,) = arrow.taken(Schema((field,)), pa.table({"c": column})).faults
        assert "and is of type" in fault.reason
        assert len(fault.reason) < 120


def test_dates_of_arrow_of_every_unit_are_taken_and_those_beyond_reckoning_refused() -> None:
    schema = Schema((Field("d", "date", gaps=True),))
    moment = dt.datetime(2026, 11, 29, 12)
    for kind in (pa.timestamp("s"), pa.timestamp("ms"), pa.timestamp("us"), pa.timestamp("ns"),
                 pa.timestamp("us", "Europe/Berlin")):  # fmt: skip
        table = pa.table({"d": pa.array([moment, None], kind)})
        assert np.array_equal(arrow.taken(schema, table).values[:, 0], [20786.5, np.nan], equal_nan=True)
    for kind in (pa.date32(), pa.date64()):
        assert arrow.taken(schema, pa.table({"d": pa.array([moment.date()], kind)})).values[0, 0] == 20786
    for kind in (pa.timestamp("s"), pa.timestamp("ms")):
        taken = arrow.taken(schema, pa.table({"d": pa.array([2**62, -(2**62), None], kind)}))
        assert taken.faults
    assert arrow.taken(schema, pa.table({"d": pa.array([2**31 - 1], pa.date32())})).faults
    assert arrow.taken(schema, pa.table({"d": pa.array([2**26], pa.date32())})).values[0, 0] == 2**26


def test_a_column_of_nothing_is_gaps() -> None:
    taken = arrow.taken(SCHEMA, as_arrow([GOOD]).set_column(1, "size", pa.nulls(1)))
    assert math.isnan(taken.values[0, 1])
    assert not taken.faults
    assert arrow.taken(SCHEMA, as_arrow([GOOD]).set_column(2, "floor", pa.nulls(1))).faults.total == 1


def test_only_so_many_faults_are_kept_and_all_are_counted() -> None:
    nulls = [[None, "x", True]] * 1000
    table = pa.table({name: pa.nulls(1000, pa.float64()) for name in "abc"})
    for taken in (rows.from_lists(NUMBERS, nulls, 10), rows.from_records(NUMBERS, [{"a": 1}] * 1000, 10),
                  texts.read(NUMBERS, b",x,y\n" * 1000, 10)[0], arrow.taken(NUMBERS, table, limit=10)):  # fmt: skip
        assert len(taken.faults) == 10
        assert taken.faults.total >= 2000


def test_texts_of_csv_in_arrow_are_read_as_the_endpoint_reads_csv() -> None:
    records = [GOOD, {**GOOD, "size": None, "colour": "blue"}, {**GOOD, "width": " 7 "}]
    table = pa.table({n: pa.array([None if r[n] is None else str(r[n]) for r in records]) for n in SCHEMA.names})
    read = texts.read(SCHEMA, written(records), None)[0]
    assert np.array_equal(arrow.taken(SCHEMA, table, texts=True).values, read.values, equal_nan=True)


def test_a_broken_csv_is_no_fault_of_ours() -> None:
    for body, said in (
        (b'1,2,"3', "unexpected end of data"), (b'1,2,3\n1,2,"3"x\n', "line 2"), (b"\xff,2,3", "not UTF-8"),
        (b"1" * 200_000, "field larger"), (b'"' + b"1\n" * 2_000_000, "field larger"),
        (b"1,2,3\n" + b"9" * 200_000, "field larger"),
    ):  # fmt: skip
        with pytest.raises(Refused, match=said) as error:
            texts.read(NUMBERS, body, 10)
        assert error.value.status == 400


def test_a_value_in_a_message_is_short() -> None:
    for value in ("x" * 10_000, 10**300, [1] * 1000, {"a": 1}, -1.5e300, None, True, "\x00" * 100):
        assert len(shown(value)) < 200


NUMBER = st.one_of(
    st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0, -0.0, 2**53]),
)  # fmt: skip
CELLS: dict[str, st.SearchStrategy[Any]] = {
    "width": NUMBER, "size": st.none() | NUMBER, "floor": st.integers(-(2**54), 2**54) | st.floats(-1e3, 1e3),
    "colour": st.none() | st.sampled_from(COLOURS) | st.text(max_size=3),
    "sold": st.none() | st.datetimes().map(dt.datetime.isoformat), "note": st.text(max_size=3),
}  # fmt: skip
ROW = st.fixed_dictionaries(CELLS).map(lambda row: {name: row[name] for name in SCHEMA.names})
TABLES = st.lists(ROW, min_size=1, max_size=6)


@settings(deadline=None, max_examples=150)
@given(TABLES)
def test_random_tables_give_the_same_matrix_or_the_same_faults_in_every_form(records: list[dict[str, Any]]) -> None:
    records = orjson.loads(orjson.dumps(records))
    first, *others = [(name, taken) for name, taken in every_form(records).items() if "csv" not in name]
    for name, taken in others:
        assert np.array_equal(first[1].values, taken.values, equal_nan=True), name
        assert sorted(map(str, first[1].faults)) == sorted(map(str, taken.faults)), name
    of_texts = {name: taken for name, taken in every_form(records).items() if "csv" in name}
    blank = any(isinstance(v, str) and (v != v.strip() or "\r" in v or "\0" in v) for r in records for v in r.values())
    if not blank:  # which mean nothing around a cell of CSV
        for name, taken in of_texts.items():
            assert np.array_equal(first[1].values, taken.values, equal_nan=True), name
            assert {f.row for f in first[1].faults} == {f.row for f in taken.faults}, name


@settings(deadline=None, max_examples=100)
@given(TABLES)
def test_random_tables_give_in_arrow_what_they_give_in_json(records: list[dict[str, Any]]) -> None:
    for record in records:  # of the types of Arrow's columns
        record |= {"floor": int(record["floor"]), "width": float(record["width"])}
        record["size"] = None if record["size"] is None else float(record["size"])
    ours, theirs = rows.from_records(SCHEMA, records, None), arrow.taken(SCHEMA, as_arrow(records))
    assert np.array_equal(ours.values, theirs.values, equal_nan=True)
    assert sorted(map(str, ours.faults)) == sorted(map(str, theirs.faults))


@settings(deadline=None, max_examples=150)
@given(st.lists(st.lists(NUMBER | st.sampled_from([None, "1", True]), min_size=3, max_size=3), min_size=1, max_size=5))
def test_the_fast_ways_and_the_slow_ones_agree(lists: list[list[Any]]) -> None:
    slow = Schema((*NUMBERS.fields[:2], Field("c", "number", gaps=True)))
    fast, other = rows.from_lists(NUMBERS, lists, None), rows.from_lists(slow, lists, None, ["a", "b", "c"])
    assert np.array_equal(fast.values[:, :2], other.values[:, :2], equal_nan=True)
    if all(type(value) in (int, float) for each in lists for value in each):
        assert np.array_equal(fast.values, other.values)
        body = "\n".join(",".join(map(repr, each)) for each in lists)
        for text in (body, body + "\n", f"a,b,c\n{body}", f'"a",b,c\n{body}', body.replace(",", " ,")):
            assert np.array_equal(texts.read(NUMBERS, text.encode(), None)[0].values, fast.values), text


def test_the_forms_of_a_models_own_table_agree(tmp_path: Path) -> None:
    folder = serving.saved("pipeline", tmp_path)
    schema = Schema.of(json.loads((folder / "columns.json").read_text(encoding="utf-8")), serving.GAPS)
    table = serving.rows_of("pipeline")
    wanted = arrow.taken(schema, table)
    assert not wanted.faults
    for taken in (rows.from_lists(schema, serving.as_lists(table), None),
                  rows.from_records(schema, serving.as_records(table), None),
                  texts.read(schema, serving.as_csv(table), None)[0],
                  texts.read(schema, serving.as_csv(table, header=False), None)[0]):  # fmt: skip
        assert not taken.faults
        assert np.array_equal(taken.values, wanted.values, equal_nan=True)
