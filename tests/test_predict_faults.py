"""trialtree predict: what bad input and odd options get, each in one line."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.errors import UserError
from tests.conftest import Repo
from tests.predicting import Predict, mixed, parts, predict, rows, table
from trialtree.predicting import numerals
from trialtree.serving import arrow, cells
from trialtree.serving.columns import Field, Schema

__all__ = ["mixed", "predict"]
HEADER = "city,since,rooms,size\n"
GOOD = "Bern,2001-02-03,2,50.5\n"

Line = Callable[..., str]


@pytest.fixture
def line(mixed: Repo, predict: Predict, tmp_path: Path) -> Line:
    """Return a function that predicts a file of these bytes, and returns the one line that is said of it."""

    def run(content: bytes | str, name: str = "t.csv", **options: object) -> str:
        path = tmp_path / "in" / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        with pytest.raises(UserError) as caught:
            predict(mixed, f"in/{name}", out="out.parquet", **options)
        assert not (tmp_path / "out.parquet").exists()
        said = str(caught.value)
        assert "\n" not in said
        assert str(tmp_path) not in said
        return said

    return run


def _parquet(given: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(given, sink)
    return bytes(sink.getvalue())


def _with(name: str, values: pa.Array) -> bytes:
    given = table(len(values))
    return _parquet(given.set_column(given.column_names.index(name), name, values))


CSV_FAULTS = {
    "": "in/t.csv: is empty",
    "\n \n": "in/t.csv: is empty",
    HEADER: "in/t.csv: has no row",
    HEADER.strip(): "in/t.csv: has no row",
    "city,rooms,size\nBern,2,50\n": "in/t.csv: has no column 'since'; it has: city, rooms, size",
    "a,b\n1,2\n": "in/t.csv: has no column 'since' (and 1 more); it has: a, b",
    "city,since,rooms,size,city\n": "in/t.csv: the header repeats the name 'city'",
    "city,,since,rooms\n": "in/t.csv: the header gives column 2 no name",
    HEADER + 'Bern,2001-02-03,2,"50\n' + GOOD: "in/t.csv: a quote is never closed",
    HEADER + GOOD + "Bern,2001-02-03,two,50\n": "in/t.csv: row 1, column 'rooms': must be a whole number, got 'two'",
    HEADER + "Bern,2001-02-03,2.5,50\n": "in/t.csv: row 0, column 'rooms': must be a whole number, got 2.5",
    HEADER + "Bern,2001-02-03,1_0,50\n": "in/t.csv: row 0, column 'rooms': must be a whole number, got '1_0'",
    HEADER + "Bern,2001-02-03,2,inf\n": "in/t.csv: row 0, column 'size': must be finite",
    HEADER + "Bern,2001-02-03,2,1e999\n": "in/t.csv: row 0, column 'size': must be finite",
    HEADER + "Bern,soon,2,50\n": "in/t.csv: row 0, column 'since': must be an ISO 8601 date, got 'soon'",
    HEADER + "Bern,2001-02-03,,50\n": (
        "in/t.csv: row 0, column 'rooms': is missing, and the table that the model was trained on had no gap here"
    ),
    HEADER + "Paris,2001-02-03,2,50\n": (
        "in/t.csv: row 0, column 'city': has no category 'Paris'; it has: Bern, Oslo, Rome, Italy"
    ),
    HEADER + GOOD + "Bern,2001-02-03\n": "in/t.csv: row 1: has 2 cells, and the header 4",
}  # fmt: skip


@pytest.mark.parametrize(("content", "expected"), CSV_FAULTS.items())
def test_bad_csv_gets_one_line(line: Line, tmp_path: Path, content: str, expected: str) -> None:
    said = line(content)
    more = "; 1 bad row in {} row{} so far, and --max-errors allows 0; all of them: out.parquet.errors.csv"
    read = len(content.splitlines()) - 1 - ("cells" in expected)
    assert said in (expected, expected + more.format(read, "s"))
    assert (said == expected) == (not (tmp_path / "out.parquet.errors.csv").exists())


def test_a_column_that_had_gaps_may_be_left_out(mixed: Repo, predict: Predict, tmp_path: Path) -> None:
    (tmp_path / "in/t.csv").write_text("city,since,rooms\nBern,2001-02-03,2\n")
    (tmp_path / "in/same.csv").write_text("city,since,rooms,size\nBern,2001-02-03,2,\n")
    for name in ("t", "same"):
        predict(mixed, f"in/{name}.csv", out=f"{name}.parquet", probabilities=True)
    assert rows(tmp_path / "t.parquet") == rows(tmp_path / "same.parquet")


def test_numbers_of_csv_are_read_as_the_endpoint_reads_them() -> None:
    signs = "0123456789+-.eEinfINFaxX_ "
    drawn = np.random.RandomState(0)
    texts = ["".join(drawn.choice(list(signs), size)) for size in drawn.randint(1, 5, 40_000)]
    texts += ["".join(drawn.choice(list("0123456789.eE-"), 20)) for _ in range(5000)]
    texts += [repr(float(x)) for x in drawn.standard_normal(5000) * 10.0 ** drawn.randint(-300, 300, 5000)]
    field = Field("x", "number", (), gaps=True)
    for text in texts:
        table = numerals.read(pa.table({"x": [text]}), Schema((field,)))
        if table.column("x").type == pa.float64():
            faults = cells.Faults()
            expected = cells.texts(field, [text], faults, False)
            assert (table.column("x")[0].as_py(), len(faults)) == (expected[0], 0), text


BORDERS = (0, 2**53 - 1, 2**53, 2**53 + 1, 2**53 + 2, 2**63, 10**20)


@pytest.mark.parametrize("text", [f"{sign}{n}{end}" for n in BORDERS for sign in ("", "-") for end in ("", ".0")])
def test_whole_numbers_of_csv_are_taken_where_the_endpoint_takes_them(text: str) -> None:
    for kind in ("integer", "number"):
        field = Field("x", kind, (), gaps=True)
        given = pa.table({"x": [text, "", "1"]})
        found = arrow.taken(Schema((field,)), numerals.read(given, Schema((field,))), texts=True)
        faults = cells.Faults()
        expected = cells.texts(field, [text, "", "1"], faults, False)
        assert np.array_equal(found.values[:, 0], expected, equal_nan=True)
        assert list(map(str, found.faults)) == list(map(str, faults))


def test_a_whole_number_that_float64_cannot_tell_is_named(line: Line) -> None:
    assert line(HEADER + "Bern,2001-02-03,9007199254740993,50\n").startswith(
        f"in/t.csv: row 0, column 'rooms': must be at most {2**53}, beyond which"
    )


def test_a_quote_within_a_cell_opens_nothing(line: Line, mixed: Repo, predict: Predict, tmp_path: Path) -> None:
    rows_ = ['5" nail,Bern,2001-02-03,2,50', '"a, ""b""\n",Bern,2001-02-03,2,50', 'x"y,Oslo,2001-02-03,3,60']
    good = "\n".join(["id,city,since,rooms,size", *rows_])
    for content in (good + '\n"q",Bern,2001-02-03,2,50\n5",Bern,2001-02-03,2,50', good.replace("\n", "\r\n") + "\r\n"):
        for end in ("", '\nz",Bern,2001-02-03,2,50\n'):
            (tmp_path / "in/t.csv").write_text(content + end, newline="")
            predict(mixed, "in/t.csv", out="out.csv")
            found = [row["id"] for row in rows(tmp_path / "out.csv")]
            assert [found[0], found[1].replace("\r", ""), found[2]] == ['5" nail', 'a, "b"\n', 'x"y']
    (tmp_path / "out.csv").unlink()
    wide = 'id,city,since,rooms,size\nx"y,Bern,2001-02-03,2,50\nz",Bern,2001-02-03,2,"50\n'
    assert line(wide) == "in/t.csv: a quote is never closed"


def test_text_that_is_not_utf8_is_named_by_its_line(line: Line) -> None:
    assert line((HEADER + GOOD).encode() + "Zürich,2001-02-03,2,50\n".encode("latin-1")) == (
        "in/t.csv, line 3: is not UTF-8"
    )
    assert line((HEADER + GOOD).encode("utf-16")) == (
        "in/t.csv: holds a NUL character; damaged, or UTF-16, and it must be UTF-8"
    )


def test_a_packed_file_that_is_cut_off_is_named(line: Line) -> None:
    packed = gzip.compress((HEADER + GOOD * 1000).encode())
    assert line(packed[:-20], "t.csv.gz").startswith("in/t.csv.gz: cannot be unpacked (gzip), it is cut off or damaged")
    assert line(b"plain", "t.csv.gz") == "in/t.csv.gz: is not a gzip file; cut off, damaged or misnamed"


def test_parquet_that_is_cut_off_damaged_or_empty_is_named(line: Line) -> None:
    whole = _parquet(table(1000))
    assert line(whole[:-100], "t.parquet").startswith(
        "in/t.parquet: cannot be read as Parquet, it is cut off or damaged"
    )
    damaged = whole[:200] + bytes(200) + whole[400:]
    assert line(damaged, "t.parquet").startswith("in/t.parquet: cannot be read as Parquet, it is cut off or damaged")
    assert line(b"city,since\n", "t.parquet") == "in/t.parquet: is not Parquet; cut off, damaged or misnamed"
    assert line(_parquet(table(0)), "t.parquet") == "in/t.parquet: has no row"


def test_columns_of_parquet_are_judged_as_the_endpoint_judges_them(line: Line) -> None:
    texts = _with("rooms", pa.array(["2", "3"]))
    assert line(texts, "t.parquet") == ("in/t.parquet: column 'rooms': must be a whole number, and is of type string")
    infinite = _with("size", pa.array([1.0, float("inf"), 2.0]))
    assert line(infinite, "t.parquet").startswith("in/t.parquet: row 1, column 'size': must be finite; 1 bad row in 3")
    gaps = _with("rooms", pa.array([1, None, 2], pa.int64()))
    assert line(gaps, "t.parquet").startswith("in/t.parquet: row 1, column 'rooms': is missing, and the table that")
    unknown = _with("city", pa.array(["Bern", "Oslo", "Paris"]))
    assert line(unknown, "t.parquet").startswith("in/t.parquet: row 2, column 'city': has no category 'Paris'")


def test_arrow_that_is_cut_off_is_named(line: Line) -> None:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table(1).schema) as stream:
        stream.write_table(table(500))
    whole = bytes(sink.getvalue())
    said = line(whole[: len(whole) // 2], "t.arrows")
    assert said.startswith("in/t.arrows: cannot be read as Arrow, it is cut off or damaged")


def test_bad_rows_beyond_the_limit_stop_it_and_are_all_listed(line: Line, tmp_path: Path) -> None:
    bad = "Bern,2001-02-03,x,50\n"
    said = line(HEADER + GOOD + bad + bad + GOOD + bad, max_errors=1, chunk=2)
    assert said == (
        "in/t.csv: row 1, column 'rooms': must be a whole number, got 'x'; 2 bad rows in 4 rows so far, "
        "and --max-errors allows 1; all of them: out.parquet.errors.csv"
    )
    assert [row["row"] for row in rows(tmp_path / "out.parquet.errors.csv")] == ["1", "2"]


def test_a_higher_limit_goes_on_where_bad_rows_stopped_it(
    mixed: Repo, predict: Predict, line: Line, tmp_path: Path
) -> None:
    bad = "Bern,2001-02-03,x,50\n"
    line(HEADER + GOOD * 4 + bad, chunk=2)
    said: list[str] = []
    predict(mixed, "in/t.csv", out="out.parquet", chunk=2, max_errors=1, say=said.append)
    assert said == ["out.parquet: goes on after 4 rows that are finished"]
    assert len(rows(tmp_path / "out.parquet")) == 4
    assert list(parts(tmp_path / "out.parquet")) == []


def test_the_options_are_checked(mixed: Repo, predict: Predict, tmp_path: Path) -> None:
    pq.write_table(table(3), tmp_path / "in/t.parquet")
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder.csv").mkdir()
    cases: list[tuple[str, dict[str, object], str]] = [
        ("in/none.csv", {}, "there is no file 'in/none.csv'"),
        ("in/*.csv", {}, "no file matches 'in/*.csv'"),
        ("in/t.parquet", {"out": "file"}, "--out: file is a file; one that is to be written ends in"),
        ("in/t.parquet", {"out": "folder.csv"}, "--out: folder.csv is a folder"),
        ("in/t.parquet", {"out": "o.json"}, "--out: must be a file .parquet, .csv, .arrow, or a folder, got o.json"),
        ("in/t.parquet", {"out": "o.csv", "format": "arrow"}, "--format: is arrow, and --out names a file .csv"),
        ("in/t.parquet", {"out": "in/t.parquet"}, "--out: in/t.parquet is one of the inputs"),
        ("in/t.parquet", {"out": "in"}, "--out: in/t.parquet is one of the inputs"),
        ("in/t.parquet", {"keep": ("idd",)}, "--keep: in/t.parquet has no column 'idd'; it has: id, city, since"),
        ("in/t.parquet", {"model": "none"}, "there is no registered model 'none'"),
        ("s3:///x", {}, "s3:///x: must name a bucket, as s3://bucket/key"),
    ]
    for name, options, expected in cases:
        with pytest.raises(UserError) as caught:
            predict(mixed, name, **{"out": "out.parquet", **options})
        assert str(caught.value).startswith(expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.csv", "in"]


def test_what_a_model_cannot_do_is_refused_before_a_row_is_read(
    ran_once: Repo, predict: Predict, tmp_path: Path
) -> None:
    raw = str(ran_once.path / "data/raw.parquet")
    cases = {
        "explain": "--explain: sklearn.svm.SVC cannot be explained; CatBoost and linear models can: "
        "sklearn.linear_model, LinearSVC and LinearSVR, without train.calibrate and train.features.pca",
        "probabilities": "--probabilities: sklearn.svm.SVC has none; train.calibrate: true makes them",
    }
    for option, expected in cases.items():
        with pytest.raises(UserError) as caught:
            predict(ran_once, raw, out="out.csv", model="iris", **{option: True})
        assert str(caught.value) == expected
    assert list(parts(tmp_path / "out.csv")) == []


def test_a_column_that_the_output_has_too_is_refused(mixed: Repo, predict: Predict, tmp_path: Path) -> None:
    for name in ("predicted", "p_low", "e_city"):
        pq.write_table(
            table(3).rename_columns([name, "city", "since", "rooms", "size", "price"]), tmp_path / "in/t.parquet"
        )
        with pytest.raises(UserError) as caught:
            predict(mixed, "in/t.parquet", out="out.csv", probabilities=True, explain=True)
        assert str(caught.value) == (
            f"in/t.parquet: has a column {name!r}, and so has the output; --keep names the columns to carry along"
        )


def test_inputs_of_one_data_set_must_agree(mixed: Repo, predict: Predict, tmp_path: Path) -> None:
    pq.write_table(table(3), tmp_path / "in/a.parquet")
    pq.write_table(table(3).drop_columns(["id"]), tmp_path / "in/b.parquet")
    pq.write_table(table(3).set_column(0, "id", pa.array([1, 2, 3])), tmp_path / "in/c.parquet")
    cases = {
        "b": "in/b.parquet: lacks 'id', other than in/a.parquet; the inputs of one data set must agree, or see --keep",
        "c": "in/c.parquet: has 'id' as int64, and in/a.parquet as string; the inputs must agree",
    }
    for other, expected in cases.items():
        with pytest.raises(UserError) as caught:
            predict(mixed, "in/a.parquet", f"in/{other}.parquet", out="out.csv")
        assert str(caught.value) == expected
    with pytest.raises(UserError, match=r"in/a\.parquet: is named twice"):
        predict(mixed, "in/a.parquet", "in/../in/a.parquet", out="out.csv")
    (tmp_path / "in/a.csv").write_text(HEADER + GOOD)
    with pytest.raises(UserError, match=r"in/a\.csv and in/a\.parquet would both become out/a\.csv"):
        predict(mixed, "in/a.csv", "in/a.parquet", out="out", format="csv")


def test_a_list_cannot_go_into_csv(mixed: Repo, predict: Predict, tmp_path: Path) -> None:
    listed = table(2).append_column("tags", pa.array([["a"], []]))
    pq.write_table(listed, tmp_path / "in/t.parquet")
    with pytest.raises(UserError, match=r"out\.csv: csv cannot hold a column, see --keep and --format: "):
        predict(mixed, "in/t.parquet", out="out.csv")
    predict(mixed, "in/t.parquet", out="out.arrow")


def test_the_command_says_it_in_one_line_and_exits_with_1(mixed: Repo, tmp_path: Path) -> None:
    done = mixed.run("trialtree", "predict", "flats/7", "x.csv", "--out", str(tmp_path / "o.csv"), check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "there is no file 'x.csv'\n"
