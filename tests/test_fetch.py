# ruff: noqa: E501  # messages are compared whole
"""fetch: real files of every kind, good and bad, become typed columns or one clear line."""

import csv
import gzip
import hashlib
import importlib
import io
import json
import math
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stages import fetch, files, params, profiles, tables
from stages.errors import UserError
from tests.conftest import PROJECT, shared

SOURCE = Path("data/source")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    SOURCE.mkdir(parents=True)
    Path("dvc.yaml").write_text("stages:\n  fetch:\n    deps:\n    - data/source\n", encoding="utf-8")


def put(content: bytes | str, name: str = "t.csv") -> str:
    """Write a table under data/source/, and return its path."""
    path = SOURCE / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path.as_posix()


def ran(source: Any, **section: Any) -> pa.Table:
    """Fetch as the stage does, and return data/raw.parquet without the row number, which is checked."""
    p = params.parse("fetch", {"source": source, **section}, fetch.FetchParams)
    found, _ = fetch.fetch(p)
    assert list(tables.raw_columns()) == [tables.Column("row", "integer", "row"), *found]
    table = pq.read_table(tables.RAW, partitioning=None)
    assert table["row"].to_pylist() == list(range(len(table)))
    assert not list(Path("data").glob(".*.partial"))
    return table.drop_columns(["row"])


def types() -> dict[str, str]:
    return {c.name: c.type for c in tables.raw_columns() if c.name != "row"}


def line(source: Any, **section: Any) -> str:
    """Return the one line that a fetch stops with; nothing is left behind."""
    with pytest.raises(UserError) as caught:
        ran(source, **section)
    assert "\n" not in str(caught.value)
    assert not tables.RAW.exists()
    assert not list(Path("data").glob(".*.partial"))
    return str(caught.value)


# scikit-learn's tables


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "digits", "diabetes"])
def test_a_table_of_scikit_learn_has_its_very_values(name: str) -> None:
    datasets = importlib.import_module("sklearn.datasets")
    bunch = getattr(datasets, f"load_{name}")()
    table = ran(f"sklearn:{name}")
    *features, target = table.column_names
    asked = [
        n.replace(" (cm)", "").replace(" ", "_").replace("/", "_").replace("error_", "") for n in bunch.feature_names
    ]
    assert features == asked
    data = np.column_stack([table[n].to_numpy() for n in features])
    assert np.array_equal(data.view(np.int64), bunch.data.view(np.int64))  # bit for bit
    labels = table[target].to_pylist()
    if name == "iris":
        assert (target, labels) == ("species", bunch.target_names[bunch.target].tolist())
    else:
        assert (target, labels) == ("target", bunch.target.tolist())
    kind = {"iris": "category", "diabetes": "number"}.get(name, "integer")
    assert types() == {**dict.fromkeys(features, "number"), target: kind}


def test_fetching_iris_imports_no_heavy_library() -> None:
    heavy = "{'sklearn', 'pandas', 'mlflow', 'scipy', 'catboost'}"
    script = f"import sys; from stages import fetch; fetch.main(); print({heavy} & set(sys.modules))"
    Path("params.yaml").write_text("fetch:\n  source: sklearn:iris\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(PROJECT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stdout.splitlines()[-1:], done.stderr) == (["set()"], "")
    assert "150 rows x 5 columns (4 number, 1 category) -> data/raw.parquet" in done.stdout


def test_a_table_that_scikit_learn_has_not_is_named() -> None:
    assert line("sklearn:irs") == (
        "params.yaml: fetch.source: is no table of scikit-learn; did you mean iris?, got 'sklearn:irs'"
    )


def test_options_of_files_are_refused_for_a_table_of_scikit_learn() -> None:
    assert line("sklearn:iris", delimiter=";") == (
        "params.yaml: fetch: delimiter: for files only, and source is sklearn:iris"
    )


# types


def test_types_are_found_by_all_values() -> None:
    rows = [
        "whole,real,id,big,day,moment,word,flag,nothing,late",
        "1,1.0,007,12345678901234567890,2020-01-02,2020-01-02T03:04:05Z,a,True,,1",
        "-2,,008,12345678901234567891,2020-02-29,2020-01-02 03:04:05.5+02:00,b,False,,2",
        *["+3,2e3,009,12345678901234567892,,2020-01-02,a,True,,3"] * 1500,
        "4,.5,010,1,2020-01-01,2020-01-02,a,True,,x",
    ]
    table = ran(put("\n".join(rows)))
    assert types() == {
        "whole": "integer", "real": "number", "id": "category", "big": "category", "day": "date", "moment": "date",
        "word": "category", "flag": "category", "nothing": "text", "late": "category",
    }  # fmt: skip
    assert table.slice(0, 2).to_pylist() == [
        {
            "whole": 1, "real": 1.0, "id": "007", "big": "12345678901234567890", "day": datetime(2020, 1, 2),
            "moment": datetime(2020, 1, 2, 3, 4, 5), "word": "a", "flag": "True", "nothing": None, "late": "1",
        },
        {
            "whole": -2, "real": None, "id": "008", "big": "12345678901234567891", "day": datetime(2020, 2, 29),
            "moment": datetime(2020, 1, 2, 1, 4, 5, 500000), "word": "b", "flag": "False", "nothing": None, "late": "2",
        },
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("distinct", "rows", "kind"),
    [(50, 50, "category"), (51, 254, "text"), (51, 255, "category"), (1000, 5000, "category"), (1001, 9000, "text")],
)
def test_a_category_has_few_values_that_repeat(distinct: int, rows: int, kind: str) -> None:
    ran(put("c,d\n" + "".join(f"v{i % distinct},1\n" for i in range(rows))))
    assert types()["c"] == kind


def test_no_date_and_no_number_but_what_the_rules_say() -> None:
    cells = ["2020-02-30", "1_000", "0x10", "1,5", "--1", "1e", "5 %", "20200102 x", "2020-1-1"]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([f"c{i}" for i in range(len(cells))])
    writer.writerow(cells)
    table = ran(put(text.getvalue()))
    assert table.to_pylist() == [{f"c{i}": cell for i, cell in enumerate(cells)}]
    assert set(types().values()) == {"category"}


def test_numbers_are_python_s_own_to_the_last_bit() -> None:
    random = np.random.RandomState(0)
    numbers = random.standard_normal(2000) * 10.0 ** random.randint(-300, 300, 2000)
    table = ran(put("x,y\n" + "".join(f"{x!r},{x:.17g}\n" for x in numbers.tolist())))
    assert table["x"].to_numpy().tolist() == numbers.tolist()
    assert table["y"].to_numpy().tolist() == numbers.tolist()


def test_infinite_numbers_stay_and_nan_is_missing() -> None:
    table = ran(put("x,y\ninf,1\n-Infinity,2\nnan,3\n1.5,4\n"))
    assert table["x"].to_pylist() == [math.inf, -math.inf, None, 1.5]
    described = profiles.profile(tables.RAW, tables.raw_columns()[1:])["by_column"][0]
    assert described == {
        "name": "x", "type": "number", "missing": 1, "distinct": 3, "min": 1.5, "max": 1.5, "infinite": 2, "mean": 1.5,
    }  # fmt: skip


def test_the_least_number_is_0_and_not_the_statistics_minus_0() -> None:
    ran(put("x,y\n0,0.0\n3,4.5\n"))
    described = profiles.profile(tables.RAW, tables.raw_columns()[1:])["by_column"]
    assert [repr(c["min"]) for c in described] == ["0", "0.0"]


def test_a_mean_is_between_the_least_and_the_greatest() -> None:
    ran(put("x,y\n0.1,1\n0.1,2\n0.1,3\n"))
    described = profiles.profile(tables.RAW, tables.raw_columns()[1:])["by_column"]
    assert [c["mean"] for c in described] == [0.1, 2.0]


def test_infinite_numbers_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    source = put("x,y,z\n1e400,-inf,1\n-1e400,2.5,1\n")
    Path("params.yaml").write_text(f"fetch:\n  source: {source}\n", encoding="utf-8")
    fetch.main()
    assert capsys.readouterr().out.splitlines() == [
        "x: 2 values are infinite, as inf and what is too large for a number (1e400)",
        "y: 1 values are infinite, as inf and what is too large for a number (1e400)",
        "data/source/t.csv: 2 rows x 3 columns (2 number, 1 integer) -> data/raw.parquet",
    ]


def test_a_column_that_is_nearly_numbers_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        f'{"n/a" if i in (7, 9) else i},{i},{i},{i % 2 or "x"},12345678901234567890,00{i},"{i},5"' for i in range(400)
    ]
    source = put("p,q,r,half,big,id,comma\n" + "\n".join(rows) + "\n")
    ran(source)
    assert {name for name, kind in types().items() if kind == "integer"} == {"q", "r"}
    assert capsys.readouterr().out.splitlines() == [
        "p: 398 of 400 values are numbers, row 7 (from 0) holds 'n/a'; see fetch.missing or fetch.types",
        "comma: 400 of 400 values would be numbers with fetch.decimal: ','",
    ]
    ran(source, types={"p": "category"}, drop=["comma"])
    assert capsys.readouterr().out == ""
    ran(put("a;b\n" + "1.5;x\n" * 20), decimal=",")
    assert capsys.readouterr().out == "a: 20 of 20 values would be numbers with fetch.decimal: '.'\n"
    ran(put("a;b\n" + "1.5;x\n" * 19), decimal=",")
    assert capsys.readouterr().out == ""


def test_types_are_forced() -> None:
    source = put("a,b,c,d,e\n1.0,1,3,13.02.2011,x\n2.0,2,4,28.02.2011,y\n")
    forced = {"a": "integer", "b": "category", "c": "number", "d": {"date": "%d.%m.%Y"}, "e": "text"}
    table = ran(source, types=forced)
    assert table.to_pylist() == [
        {"a": 1, "b": "1", "c": 3.0, "d": datetime(2011, 2, 13), "e": "x"},
        {"a": 2, "b": "2", "c": 4.0, "d": datetime(2011, 2, 28), "e": "y"},
    ]
    assert types() == {"a": "integer", "b": "category", "c": "number", "d": "date", "e": "text"}


@pytest.mark.parametrize(
    ("column", "forced", "said"),
    [
        ("a", "integer", "must be integer, row 1 (from 0) holds '1.5'"),
        ("b", "number", "must be number, row 0 (from 0) holds 'x' and 1 more do not fit"),
        ("c", {"date": "%m/%d/%Y"}, "must be date (%m/%d/%Y), row 1 (from 0) holds '13/13/2011'"),
        ("c", "date", "must be date, row 0 (from 0) holds '1/2/2011' and 1 more do not fit"),
    ],
)
def test_a_value_that_is_not_of_the_forced_type_is_named(column: str, forced: Any, said: str) -> None:
    source = put("a,b,c\n1,x,1/2/2011\n1.5,y,13/13/2011\n")
    assert line(source, types={column: forced}) == f"params.yaml: fetch.types.{column}: {said}"


@pytest.mark.parametrize("name", ["n", "hash", "value", "wrong", "found"])
def test_a_column_of_any_name_is_forced(name: str) -> None:
    assert line(put(f"{name},b\n1,2\nx,2\n"), types={name: "integer"}) == (
        f"params.yaml: fetch.types.{name}: must be integer, row 1 (from 0) holds 'x'"
    )


def test_a_decimal_comma_is_read_and_never_the_delimiter() -> None:
    table = ran(put("a;b\n1,5;2\n-0,25;3\n"), decimal=",")
    assert table.to_pylist() == [{"a": 1.5, "b": 2}, {"a": -0.25, "b": 3}]
    table = ran(put("a,x|b\n1,5|2,5\n1.5|2\n"), decimal=",", header=True)
    assert table.to_pylist() == [{"a,x": "1,5", "b": 2.5}, {"a,x": "1.5", "b": 2.0}]


# what real files hold


def test_blanks_quotes_commas_line_ends_and_a_mark_are_read() -> None:
    table = ran(put('\ufeffname , note,n\r\n" Ann, B." , "two\r\nlines" ,1\r\n\tBob\u00a0,"say ""hi""", 2\r\n'))
    assert table.to_pylist() == [
        {"name": "Ann, B.", "note": "two\nlines", "n": 1},
        {"name": "Bob", "note": 'say "hi"', "n": 2},
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_of_every_system_are_read(end: str) -> None:
    assert ran(put(end.join(["a,b", "1,x", "2,y", "", ""]))).to_pylist() == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]


def test_an_empty_line_is_no_row() -> None:
    assert ran(put("a,b\n\n1,2\n\n3,\n")).to_pylist() == [{"a": 1, "b": 2}, {"a": 3, "b": None}]
    assert ran(put("a\n\n1\nNA\n\n")).to_pylist() == [{"a": 1}, {"a": None}]


def test_line_ends_may_be_mixed() -> None:
    assert ran(put('a,b\r\n1,"x\ny"\n2,z\r\n')).to_pylist() == [{"a": 1, "b": "x\ny"}, {"a": 2, "b": "z"}]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_in_the_first_line(delimiter: str) -> None:
    assert ran(put('"a,;|",b\n1,2\n'.replace(",b", f"{delimiter}b").replace("1,", f"1{delimiter}"))).to_pylist() == [
        {"a,;|": 1, "b": 2}
    ]


def test_a_delimiter_may_be_given() -> None:
    assert ran(put("a b\n1 2\n"), delimiter=" ").to_pylist() == [{"a": 1, "b": 2}]


def test_missing_tokens_are_given_or_the_usual() -> None:
    source = put("a,b\n1,NA\n?,\nNaN,null\n")
    assert ran(source).to_pylist() == [{"a": "1", "b": None}, {"a": "?", "b": None}, {"a": None, "b": None}]
    assert ran(source, missing=["?", "NaN"]).to_pylist() == [
        {"a": 1, "b": "NA"}, {"a": None, "b": None}, {"a": None, "b": "null"},
    ]  # fmt: skip


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-16", "utf-8-sig"])
def test_encodings_are_decoded(encoding: str) -> None:
    source = put("città,€\nMünchen,1\n".replace("€", "e").encode(encoding))
    assert ran(source, encoding=encoding).to_pylist() == [{"città": "München", "e": 1}]


def _zip(content: bytes, *others: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("t.csv", content)
        for name in others:
            archive.writestr(name, content)
    return packed.getvalue()


def _zst(content: bytes) -> bytes:
    packed: bytes = pa.Codec("zstd").compress(content, asbytes=True)
    return packed


PACKED: list[tuple[str, Callable[[bytes], bytes]]] = [("gz", gzip.compress), ("zip", _zip), ("zst", _zst)]
LONG = "a,b\n" + "".join(f"{i * 7919 % 10007},{i * 31 % 977 / 8}\n" for i in range(5000))


@pytest.mark.parametrize(("suffix", "pack"), PACKED)
def test_packed_files_are_read(suffix: str, pack: Callable[[bytes], bytes]) -> None:
    assert ran(put(pack(LONG.encode()), f"t.csv.{suffix}")) == ran(put(LONG, "plain.csv"))


@pytest.mark.parametrize(("suffix", "pack"), PACKED)
def test_a_cut_off_packed_file_is_said(suffix: str, pack: Callable[[bytes], bytes]) -> None:
    packed = pack(LONG.encode())
    source = put(packed[: len(packed) // 2], f"t.csv.{suffix}")
    assert line(source).startswith(f"{source}: cannot be unpacked (")
    assert "it is cut off or damaged" in line(source)
    source = put(b"", f"empty.csv.{suffix}")
    assert line(source).startswith(f"{source}: is not a ")


def test_a_zip_holds_one_file() -> None:
    source = put(_zip(b"a\n1\n", "u.csv"), "t.zip")
    assert line(source) == f"{source}: a zip must hold exactly one file, this one holds 2: t.csv, u.csv"
    assert ran(put(_zip(b"a,b\n1,2\n", "__MACOSX/._t.csv"), "t.zip")).to_pylist() == [{"a": 1, "b": 2}]


def test_a_workbook_is_told_from_a_zip() -> None:
    assert "save the sheet as CSV" in line(put(_zip(b"", "[Content_Types].xml"), "t.xlsx"))


CELLS = st.text(st.sampled_from('ab,"\n\r; é|'), max_size=6)
# Python's writer leaves a lone carriage return unquoted unless it is asked to quote all, or writes one itself.
STYLES = [("\r\n", csv.QUOTE_MINIMAL), ("\n", csv.QUOTE_ALL)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(2, 4).flatmap(lambda n: st.lists(st.lists(CELLS, min_size=n, max_size=n), min_size=1)),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(STYLES),
)
def test_what_python_writes_is_read_back(rows: list[list[str]], delimiter: str, style: tuple[str, Any]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator=style[0], quoting=style[1])
    names = [f"c{i}" for i in range(len(rows[0]))]
    writer.writerow(names)
    writer.writerows(rows)
    table = ran(put(text.getvalue()), delimiter=delimiter, types=dict.fromkeys(names, "text"))
    expected = [[cell.replace("\r\n", "\n").replace("\r", "\n").strip(" \t") or None for cell in row] for row in rows]
    assert [list(row.values()) for row in table.to_pylist()] == expected


# damaged files


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a,b\n1,2\n3\n", ", line 3: has 1 fields, expected 2"),
        ('a,b\n1,"x\ny"\n3,4,5\n', ", line 4: has 3 fields, expected 2"),
        ("a,b\n1,2,\n", ", line 2: has 3 fields, expected 2"),
        ('a,b\n1,2,""\n', ", line 2: has 3 fields, expected 2"),
        ("a,b\n1,2\n3,4,", ", line 3: has 3 fields, expected 2"),
        ('a,b\n1,2\n3,"x', ", line 3: a quote that opens in this record is never closed; the file is cut off, or the quote is part of a value"),
        ('a,b\n1,"x"y\n', ", line 2: a closing quote must be the end of its field"),
        ('"a" x,lab\n1,2\n', ", line 1: a closing quote must be the end of its field"),
        ('a,"b"c\n1,2\n', ", line 1: a closing quote must be the end of its field"),
        ('\n"a"\t,b\n1,2\n', ", line 2: a closing quote must be the end of its field"),
        ('{"a": 1, "b": 2}\n{"a": 3, "b": 4}\n', ": the first line is JSON; must be CSV or Parquet"),
        ('{"a": 1}\n{"a": 3}\n', ": the first line is JSON; must be CSV or Parquet"),
        ("", ": is empty"),
        (" \n\n", ": is empty"),
        ("a,b\n", ": has a header and no row"),
        ("a,b\n1,\0\n", ", line 2: holds a NUL character; damaged, or UTF-16 (fetch.encoding: utf-16)"),
        ("a,,b\n1,2,3\n", ": the first line gives column 2 no name; name the columns in params.yaml: fetch.columns (and fetch.header: true if the first line is no row)"),
        (",a,,b\n1,2,3,4\n", ": the first line gives column 3 no name; name the columns in params.yaml: fetch.columns (and fetch.header: true if the first line is no row)"),
        (",a,\n1,2,\n3,4,5\n", ": the first line gives column 3 no name; name the columns in params.yaml: fetch.columns (and fetch.header: true if the first line is no row)"),
        (",\n1,2\n", ": the first line gives column 1 no name; name the columns in params.yaml: fetch.columns (and fetch.header: true if the first line is no row)"),
        ("a,A,b\n1,2,3\n", ": the first line repeats the name 'A' and 'a'; name the columns in params.yaml: fetch.columns (and fetch.header: true if the first line is no row)"),
        ("x,5\n1,2\n3,4\n", ": the first line looks like a row and would be lost: '5' stands over numbers; name the columns in params.yaml: fetch.columns, or add fetch.header: true"),
        (b"a,b\n1,x\n\n2,\xe9\n", ", line 4: byte 11 (0xe9) is not utf-8; name the file's encoding in params.yaml: fetch.encoding, for example cp1252 or utf-16"),
        (b"a,b\n1,\xc3", ", line 2: byte 6 (0xc3) is not utf-8; name the file's encoding in params.yaml: fetch.encoding, for example cp1252 or utf-16"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_one_clear_line(content: str | bytes, said: str) -> None:
    source = put(content)
    assert line(source) == f"{source}{said}"


def test_a_wrong_byte_far_into_a_large_file_is_found() -> None:
    rows = b"".join(b"%d,some text\r\n" % i for i in range(200_000))
    source = put(b"a,b\r\n" + rows + b"1,\xff\r\n")
    assert line(source).startswith(f"{source}, line 200002: byte {5 + len(rows) + 2} (0xff) is not utf-8; ")


def test_a_cut_off_parquet_file_is_said() -> None:
    pq.write_table(pa.table({"a": list(range(1000))}), SOURCE / "t.parquet")
    content = (SOURCE / "t.parquet").read_bytes()
    for cut in (content[: len(content) // 2], b"", content[:4] + b"\xff" * 200 + content[204:]):
        source = put(cut, "t.parquet")
        assert line(source).startswith(f"{source}: ")


# columns and header


def test_names_are_given_to_a_file_without_header() -> None:
    assert ran(put("1,x\n2,y\n"), columns=["n", "w"]).to_pylist() == [{"n": 1, "w": "x"}, {"n": 2, "w": "y"}]


def test_the_index_of_a_data_frame_is_left_out_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    source = put(",a,b\n0,1,x\n1,2,y\n")
    assert ran(source).to_pylist() == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
    assert capsys.readouterr().out == (
        "data/source/t.csv: column 1 has no name and is left out, as the index of a data frame; "
        "fetch.columns with fetch.header: true names it\n"
    )
    assert ran(source, columns=["i", "a", "b"], header=True)["i"].to_pylist() == [0, 1]
    assert capsys.readouterr().out == ""


def test_a_delimiter_at_the_end_of_every_line_makes_no_column(capsys: pytest.CaptureFixture[str]) -> None:
    assert ran(put('c0,"a" ,\n1,x,\n2,y,NA\n')).to_pylist() == [{"c0": 1, "a": "x"}, {"c0": 2, "a": "y"}]
    assert capsys.readouterr().out == (
        "data/source/t.csv: column 3 has no name and is left out, as it is empty; "
        "fetch.columns with fetch.header: true names it\n"
    )


def test_names_replace_those_of_a_header() -> None:
    assert ran(put("a,,a\n1,x,2\n"), columns=["n", "w", "m"], header=True).to_pylist() == [{"n": 1, "w": "x", "m": 2}]


def test_a_header_of_numbers_is_taken_when_said_so() -> None:
    assert ran(put("2019,2020\n1,2\n"), header=True).to_pylist() == [{"2019": 1, "2020": 2}]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a,b,c\n1,2,3\n", "params.yaml: fetch.columns: has 2 names, data/source/t.csv has 3 columns"),
        ("n,w\n1,x\n", "data/source/t.csv: the first line holds the names of fetch.columns; if it is no row, add to params.yaml: fetch: header: true, else header: false"),
        ("N,W\n1,x\n2,y\n", "data/source/t.csv: the first line looks like a header: 'N' stands over numbers; add to params.yaml: fetch.header: true if it is one, else false"),
    ],
)  # fmt: skip
def test_names_that_do_not_fit_the_file_are_said(content: str, said: str) -> None:
    assert line(put(content), columns=["n", "w"]) == said


def test_columns_are_kept_in_the_order_asked_for_or_dropped() -> None:
    source = put("a,b,c\n1,2,3\n")
    assert ran(source, keep=["c", "a"]).to_pylist() == [{"c": 3, "a": 1}]
    assert ran(source, drop=["a"], derive={"d": "a + b"}).to_pylist() == [{"b": 2, "c": 3, "d": 3}]


def test_every_unknown_column_is_named() -> None:
    with pytest.raises(UserError) as caught:
        ran(put("age,b\n1,2\n"), types={"agee": "number"}, keep=["x"], drop=["b", "c"])
    assert str(caught.value).splitlines() == [
        "params.yaml: fetch.types: the table has no column 'agee'; did you mean age?",
        "params.yaml: fetch.keep: the table has no column 'x'; known: age, b",
        "params.yaml: fetch.drop: the table has no column 'c'; known: age, b",
    ]


def test_a_column_called_row_is_to_be_renamed() -> None:
    source = put("Row,b\n5,2\n")
    assert line(source) == (
        "params.yaml: fetch: the table has a column 'Row', which is the name of the row's number; "
        "rename it by derive: {other_name: Row} and drop: [Row]"
    )
    assert ran(source, derive={"place": "Row"}, drop=["Row"]).to_pylist() == [{"b": 2, "place": 5}]


def test_a_table_needs_a_column() -> None:
    assert line(put("a,b\n1,2\n"), drop=["a", "b"]) == "params.yaml: fetch.drop: leaves no column"


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"columns": ["a", "A"]}, "params.yaml: fetch.columns: must not repeat a (letter case aside), got ['a', 'A']"),
        ({"encoding": "utf-9"}, "params.yaml: fetch.encoding: must be an encoding of text that Python knows, as utf-8, cp1252, utf-16, got 'utf-9'"),
        ({"encoding": "base64"}, "params.yaml: fetch.encoding: must be an encoding of text that Python knows, as utf-8, cp1252, utf-16, got 'base64'"),
        ({"delimiter": ",", "decimal": ","}, "params.yaml: fetch: delimiter and decimal must differ, both are ','"),
        ({"keep": ["a"], "drop": ["a"]}, "params.yaml: fetch: keep and drop both name a"),
        ({"types": {"a": "float"}}, "params.yaml: fetch.types.a: must be integer, number, category, text, date, or a date's format as {date: '%m/%d/%Y'}, got 'float'"),
        ({"columnz": []}, "params.yaml: fetch.columnz is not a key; did you mean columns?"),
    ],
)  # fmt: skip
def test_wrong_params_are_named(section: dict[str, Any], said: str) -> None:
    assert line("data/source/t.csv", **section) == said


# derived columns


def test_columns_are_derived_by_expressions_over_the_row() -> None:
    source = put("a,b,day,w\n7,2,2020-01-02,x\n,4,2020-02-01,y\n")
    derive = {
        "half": "a / b", "twice": "half * 2 -- of the one before", "month": "month(day)", "late": "day > '2020-01-15'",
        "word": "upper(w) || '!'", "both": "list_sum(list_transform([b, 1], lambda x: x + 1))", "fixed": "0.1",
        "none": "0.0::DOUBLE / 0",
    }  # fmt: skip
    table = ran(source, derive=derive, types={"month": "category"})
    assert table.drop_columns(["a", "b", "day", "w"]).to_pylist() == [
        {
            "half": 3.5, "twice": 7.0, "month": "1", "late": "false", "word": "X!", "both": 5, "fixed": 0.1,
            "none": None,
        },
        {
            "half": None, "twice": None, "month": "2", "late": "true", "word": "Y!", "both": 7, "fixed": 0.1,
            "none": None,
        },
    ]  # fmt: skip
    assert types() == {
        "a": "integer", "b": "integer", "day": "date", "w": "category", "half": "number", "twice": "number",
        "month": "category", "late": "category", "word": "category", "both": "integer", "fixed": "number",
        "none": "number",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("(SELECT 1)", "must be an expression over the row, without a subquery"),
        ("(SELECT content FROM read_text('/etc/passwd'))", "must be an expression over the row, without a subquery"),
        ("exists(FROM 'secret.csv')", "must be an expression over the row, without a subquery"),
        ("1; DROP VIEW cells", "must be one SQL expression over the row, got '1; DROP VIEW cells'"),
        ("a FROM 'secret.csv'", "must be one SQL expression over the row, got \"a FROM 'secret.csv'\""),
        ("a, a", "must be one SQL expression over the row, got 'a, a'"),
        ("1) FROM cells --", "syntax error at or near \")\", got '1) FROM cells --'"),
        ("", "must be one SQL expression over the row, got ''"),
        ("sum(a)", "sum() is over many rows; must be an expression over the row"),
        ("row_number() OVER ()", "must be an expression over the row, without a window over many rows"),
        ("random()", "random() differs from run to run; must be a function of the row"),
        ("now()", "now() differs from run to run; must be a function of the row"),
        ("age(TIMESTAMP '2020-01-01')", "age() differs from run to run; must be a function of the row"),
        ("ago(INTERVAL 1 DAY)", "ago() differs from run to run; must be a function of the row"),
        ("current_date", "there is no column 'current_date'; known: a, word"),
        ("wrod", "there is no column 'wrod'; did you mean word?"),
        ("$1", "must be an expression over the row, without a parameter"),
        ("COLUMNS(*)", "must be an expression over the row, without a star"),
        ("lenght(word)", None),
        (
            "word::INTEGER",
            "Conversion Error: Could not convert string 'x' to INT32 when casting from source column word",
        ),
        ("repeat('x', a * 10000000000000)", None),
    ],
)
def test_an_expression_that_is_not_one_over_the_row_is_refused(expression: str, said: str | None) -> None:
    Path("secret.csv").write_text("a\n1\n", encoding="utf-8")
    stopped = line(put("a,word\n1,x\n"), derive={"new": expression})
    assert stopped.startswith("params.yaml: fetch.derive.new: ")
    if said is not None:
        assert stopped.removeprefix("params.yaml: fetch.derive.new: ") == said


def test_a_derived_column_takes_a_name_of_its_own() -> None:
    assert line(put("a,b\n1,2\n"), derive={"A": "b"}) == (
        "params.yaml: fetch.derive.A: the table has such a column; give the new one another name, and drop the old"
    )


# sources


def test_a_folder_is_read_by_name_without_what_is_no_table() -> None:
    for name, content in {"b.csv": "x,y\n3,c\n", "a.csv": "x,y\n1,a\n2,b\n"}.items():
        put(content, f"parts/{name}")
    for name in (".hidden", "_SUCCESS", ".gitignore", "a.csv.dvc"):
        put("junk", f"parts/{name}")
    expected = [{"x": 1, "y": "a"}, {"x": 2, "y": "b"}, {"x": 3, "y": "c"}]
    assert ran("data/source/parts").to_pylist() == expected
    assert ran("data/source/parts/*.csv").to_pylist() == expected
    assert ran(["data/source/parts/b.csv", "data/source/parts/a.csv"])["x"].to_pylist() == [3, 1, 2]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ("x,z\n1,2\n", "has the column 'z' where data/source/parts/a.csv has 'y'; the files must agree"),
        ("x\n1\n", "has 1 columns, data/source/parts/a.csv has 2; the files must agree"),
        ("x,y\n1\n", ", line 2: has 1 fields, expected 2"),
        ("", "is empty"),
    ],
)
def test_files_of_a_folder_agree(other: str, said: str) -> None:
    put("x,y\n1,2\n", "parts/a.csv")
    put(other, "parts/b.csv")
    assert line("data/source/parts").startswith("data/source/parts/b.csv")
    assert line("data/source/parts").endswith(said)


def test_a_file_that_is_not_there_is_said() -> None:
    assert line("data/source/t.csv") == (
        "params.yaml: fetch.source: there is no file 'data/source/t.csv'; `trialtree data add FILE` puts a table there"
    )
    Path("data/source/t.csv.dvc").write_text("outs: []\n", encoding="utf-8")
    assert line("data/source/t.csv") == (
        "data/source/t.csv is not here, but data/source/t.csv.dvc is: `dvc pull data/source/t.csv` brings it"
    )
    assert line("data/source/*.json") == "params.yaml: fetch.source: no file matches 'data/source/*.json'"
    assert line("ftp://me:secret@example.org/t.csv") == (
        "params.yaml: fetch.source: must be sklearn:NAME, a path, https://…, s3://…, dvc:REPOSITORY#PATH@REVISION, "
        "openml:NUMBER, got 'ftp://***@example.org/t.csv'"
    )


def test_a_table_that_fetch_does_not_depend_on_is_refused() -> None:
    put("a,b\n1,2\n")
    Path("dvc.yaml").write_text("stages:\n  fetch:\n    deps:\n    - data/source/u.csv\n", encoding="utf-8")
    for spelt in ("data/source/t.csv", "./data/../data/source/t.csv", str(Path("data/source/t.csv").absolute())):
        assert line(spelt) == (
            "dvc.yaml: stages.fetch.deps: lacks data/source/t.csv, so an edit would go unseen; "
            "run `trialtree data add data/source/t.csv`"
        )


def test_a_table_elsewhere_is_pinned_by_its_hash(tmp_path: Path) -> None:
    outside = tmp_path / "elsewhere" / "t.csv"
    outside.parent.mkdir()
    outside.write_text("a,b\n1,2\n", encoding="utf-8")
    pin = hashlib.sha256(b"a,b\n1,2\n").hexdigest()
    assert line("elsewhere/t.csv") == (
        "params.yaml: fetch.sha256: is required for a path outside data/source/, which DVC does not watch; "
        f"`trialtree data update` writes it: {pin}"
    )
    assert ran(str(outside), sha256=pin).to_pylist() == ran("elsewhere/t.csv", sha256=pin.upper()).to_pylist()
    tables.RAW.unlink()
    outside.write_text("a,b\n1,3\n", encoding="utf-8")
    now = hashlib.sha256(b"a,b\n1,3\n").hexdigest()
    assert line("elsewhere/t.csv", sha256=pin) == (
        f"params.yaml: fetch.sha256: elsewhere/t.csv: changed since it was pinned: the hash is {now}, pinned is {pin}; "
        "`trialtree data update` takes the new one"
    )


def test_the_hash_of_several_files_is_that_of_sha256sum_s_lines(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    for name in ("a.csv", "b.csv"):
        (tmp_path / "parts" / name).write_text(f"x,y\n1,{name}\n", encoding="utf-8")
    summed = subprocess.run(["sha256sum", "a.csv", "b.csv"], cwd="parts", capture_output=True, check=True).stdout
    assert ran("parts", sha256=hashlib.sha256(summed).hexdigest())["y"].to_pylist() == ["a.csv", "b.csv"]


def test_a_path_beside_the_repository_is_found_from_a_temporary_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "repo").mkdir()
    (tmp_path / "t.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    copy = tmp_path / "repo" / ".dvc" / "tmp" / "exps" / "tmp1"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "repo"))
    assert ran("../t.csv", sha256=hashlib.sha256(b"a,b\n1,2\n").hexdigest()).to_pylist() == [{"a": 1, "b": 2}]


def test_a_folder_of_any_name_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = tmp_path / 'it\'s a "façade" [1] 日本 100%'
    (odd / "data" / "source").mkdir(parents=True)
    (odd / "dvc.yaml").write_bytes(Path("dvc.yaml").read_bytes())
    monkeypatch.chdir(odd)
    expected = [{"a'\"b": 1, "ñ %": "x"}]
    assert (
        ran(put('"a\'""b",ñ %\r\n1,x\r\n', "it's [a] *.csv"), derive={"two": "2"}, drop=["two"]).to_pylist() == expected
    )
    pq.write_table(pa.table({"a'\"b": [1], "ñ %": ["x"]}), "data/source/it's.parquet")
    assert ran("data/source/it's.parquet").to_pylist() == expected


# Parquet


def test_parquet_keeps_its_kinds() -> None:
    import decimal

    table = pa.table(
        {
            "small": pa.array([1, None], pa.int8()),
            "real": pa.array([1.5, math.nan], pa.float32()),
            "exact": pa.array([decimal.Decimal("1.10"), None], pa.decimal128(5, 2)),
            "flag": [True, None],
            "word": [" 1 ", "NA"],
            "kind": pa.array(["a", "b"]).dictionary_encode(),
            "day": pa.array([18263, None], pa.date32()),
            "moment": pa.array([datetime(2020, 1, 2, 3), None], pa.timestamp("ms", "UTC")),
        }
    )
    pq.write_table(table, SOURCE / "t.parquet")
    assert ran("data/source/t.parquet").to_pylist() == [
        {
            "small": 1, "real": 1.5, "exact": 1.1, "flag": "true", "word": "1", "kind": "a",
            "day": datetime(2020, 1, 2), "moment": datetime(2020, 1, 2, 3),
        },
        {
            "small": None, "real": None, "exact": None, "flag": None, "word": None, "kind": "b", "day": None,
            "moment": None,
        },
    ]  # fmt: skip
    assert types() == {
        "small": "integer", "real": "number", "exact": "number", "flag": "category", "word": "category",
        "kind": "category", "day": "date", "moment": "date",
    }  # fmt: skip


def test_a_folder_of_parquet_is_one_table() -> None:
    (SOURCE / "parts").mkdir()
    for i in (2, 1):
        pq.write_table(pa.table({"a": [i, i * 10]}), SOURCE / "parts" / f"part-{i}.parquet")
    assert ran("data/source/parts")["a"].to_pylist() == [1, 10, 2, 20]
    assert ran("data/source/parts", columns=["b"])["b"].to_pylist() == [1, 10, 2, 20]
    tables.RAW.unlink()
    pq.write_table(pa.table({"b": [1]}), SOURCE / "parts" / "part-3.parquet")
    assert line("data/source/parts") == (
        "data/source/parts/part-3.parquet: differs from data/source/parts/part-1.parquet in its columns (a); "
        "the files must agree"
    )


def test_the_index_of_a_data_frame_in_parquet_is_left_out_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    pandas = importlib.import_module("pandas")
    pandas.DataFrame({" a ": [1, 2], "b": [3, 4]}, index=[5, 7]).to_parquet(SOURCE / "t.parquet")
    assert ran("data/source/t.parquet").to_pylist() == [{"a": 1, "b": 3}, {"a": 2, "b": 4}]
    assert capsys.readouterr().out == (
        "data/source/t.parquet: column __index_level_0__ is left out, as the index of a data frame; "
        "fetch.columns names it\n"
    )
    assert ran("data/source/t.parquet", columns=["x", "y", "i"])["i"].to_pylist() == [5, 7]
    assert ran("data/source/t.parquet", columns=["x", "y"]).to_pylist() == [{"x": 1, "y": 3}, {"x": 2, "y": 4}]


def test_names_in_parquet_are_stripped_and_must_not_repeat_then() -> None:
    pq.write_table(pa.table({"a": [1], " A": [2]}), SOURCE / "t.parquet")
    assert line("data/source/t.parquet").startswith("data/source/t.parquet repeats the name 'A' and 'a'; ")


def test_a_nested_column_is_refused_by_name_and_may_be_derived_from() -> None:
    pq.write_table(pa.table({"a": [1], "b": [[1, 2]]}), SOURCE / "t.parquet")
    assert line("data/source/t.parquet") == (
        "the column 'b' is BIGINT[], which no table has here; add it to fetch.drop"
    )
    assert ran("data/source/t.parquet", derive={"c": "len(b)"}, drop=["b"]).to_pylist() == [{"a": 1, "c": 2}]


# outputs


def test_the_profile_says_what_the_table_holds() -> None:
    rows = ["1,1.5,2020-01-01,a", "1,1.5,2020-01-01,a", "3,,2020-01-03T12:00:00,b", ",2.5,,", "1,1.5,2020-01-01,a"]
    source = put("whole,real,day,word\n" + "\n".join(rows) + "\n")
    Path("params.yaml").write_text(f"fetch:\n  source: {source}\n", encoding="utf-8")
    fetch.main()
    assert json.loads(fetch.PROFILE.read_text(encoding="utf-8")) == {
        "source": [{"source": "data/source/t.csv", "bytes": len((SOURCE / "t.csv").read_bytes())}],
        "rows": 5,
        "columns": 4,
        "repeated_rows": 2,
        "by_column": [
            {"name": "whole", "type": "integer", "missing": 1, "distinct": 2, "min": 1, "max": 3, "mean": 1.5},
            {"name": "real", "type": "number", "missing": 1, "distinct": 2, "min": 1.5, "max": 2.5, "mean": 1.75},
            {
                "name": "day", "type": "date", "missing": 1, "distinct": 2, "min": "2020-01-01T00:00:00",
                "max": "2020-01-03T12:00:00", "mean": "2020-01-01T15:00:00",
            },
            {
                "name": "word", "type": "category", "missing": 1, "distinct": 2,
                "top": [{"value": "a", "count": 3}, {"value": "b", "count": 1}],
            },
        ],
    }  # fmt: skip


def test_the_same_file_gives_the_same_bytes() -> None:
    random = np.random.RandomState(0)
    numbers = random.standard_normal((150_000, 3))
    source = put("a,b,c\n" + "".join(f"{a!r},{b!r},{c!r}\n" for a, b, c in numbers.tolist()))
    Path("params.yaml").write_text(f"fetch:\n  source: {source}\n", encoding="utf-8")
    seen = set()
    for _ in range(3):
        fetch.main()
        seen.add((tables.RAW.read_bytes(), fetch.PROFILE.read_bytes()))
    assert len(seen) == 1


def test_a_stage_that_was_killed_leaves_nothing_in_the_way() -> None:
    for name in ("fetch", "raw.parquet"):
        left = Path(f"data/.{name}.k3j2.partial")
        left.mkdir()
        (left / "cells.parquet").write_bytes(b"half")
    assert ran(put("a,b\n1,2\n")).to_pylist() == [{"a": 1, "b": 2}]


def test_two_fetches_at_once_do_not_disturb_each_other() -> None:
    source = put("a,b\n" + "".join(f"{i},{i * 7 % 13}\n" for i in range(20_000)))
    Path("params.yaml").write_text(f"fetch:\n  source: {source}\n", encoding="utf-8")
    code = "from stages import fetch; [fetch.main() for _ in range(5)]"
    several = [
        subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(PROJECT)}, stderr=subprocess.PIPE)
        for _ in range(3)
    ]  # fmt: skip
    assert [(process.communicate()[1], process.returncode) for process in several] == [(b"", 0)] * 3
    assert pq.read_table(tables.RAW, partitioning=None).num_rows == 20_000
    assert sorted(path.name for path in Path("data").iterdir()) == ["raw.parquet", "source"]


def test_two_writers_of_a_folder_at_once_leave_one_whole() -> None:
    with files.replacing_folder(Path("made")) as one, files.replacing_folder(Path("made")) as other:
        for folder in (one, other):
            (folder / folder.name).write_text("whole", encoding="utf-8")
    assert [path.name for path in Path("made").iterdir()] == [one.name]
    assert not list(Path().glob(".*.partial"))


# the real tables


def real(name: str, **section: Any) -> pa.Table:
    """Fetch a shared table that was put under data/source/."""
    path = shared(name)
    return ran(put(path.read_bytes(), path.name), **section)


ADULT = [
    "age", "workclass", "fnlwgt", "education", "education_num", "marital_status", "occupation", "relationship",
    "race", "sex", "capital_gain", "capital_loss", "hours_per_week", "native_country", "income",
]  # fmt: skip
WHOLE = {"age", "fnlwgt", "education_num", "capital_gain", "capital_loss", "hours_per_week"}


def test_adult_is_read_by_params_alone() -> None:
    table = real("adult/adult.data", columns=ADULT, missing=["?"])
    assert types() == {name: "integer" if name in WHOLE else "category" for name in ADULT}
    assert (len(table), table["workclass"].null_count, table["income"].unique().to_pylist()) == (
        32561, 1836, ["<=50K", ">50K"],
    )  # fmt: skip
    assert list(table.to_pylist()[0].values())[:4] == [39, "State-gov", 77516, "Bachelors"]
    assert profiles.profile(tables.RAW, tables.raw_columns()[1:])["repeated_rows"] == 24


def test_adult_without_names_does_not_lose_its_first_row() -> None:
    put(shared("adult/adult.data").read_bytes(), "adult.data")
    assert "the first line looks like a row and would be lost: '39'" in line("data/source/adult.data")


def test_adult_s_test_file_has_labels_with_a_dot() -> None:
    table = real("adult/adult-test.csv", columns=ADULT, missing=["?"], derive={"label": "rtrim(income, '.')"})
    assert (len(table), table["label"].unique().to_pylist()) == (16281, ["<=50K", ">50K"])


def test_california_s_ratios_are_numpy_s() -> None:
    names = [
        "longitude", "latitude", "housing_median_age", "total_rooms", "total_bedrooms", "population", "households",
        "median_income", "median_house_value",
    ]  # fmt: skip
    derive = {
        "MedHouseVal": "median_house_value / 100000", "AveRooms": "total_rooms / households",
        "AveBedrms": "total_bedrooms / households", "AveOccup": "population / households",
    }  # fmt: skip
    keep = ["MedHouseVal", "median_income", "housing_median_age", "AveRooms", "AveBedrms", "population", "AveOccup"]
    table = real("california_housing/cal_housing.data", columns=names, derive=derive, keep=keep)
    raw = np.loadtxt(shared("california_housing/cal_housing.data"), delimiter=",")
    value = {name: raw[:, i] for i, name in enumerate(names)}
    expected = [
        value["median_house_value"] / 100000, value["median_income"], value["housing_median_age"],
        value["total_rooms"] / value["households"], value["total_bedrooms"] / value["households"], value["population"],
        value["population"] / value["households"],
    ]  # fmt: skip
    assert table.column_names == keep
    for name, column in zip(keep, expected, strict=True):
        assert np.array_equal(table[name].to_numpy(), column), name
    assert len(table) == 20640


def test_the_other_tables_are_read_as_they_are() -> None:
    assert len(real("california_housing/cal_housing_with_header.csv")) == 20640
    messy = real("california_housing_messy/housing.csv")
    assert (len(messy), messy["total_bedrooms"].null_count, types()["ocean_proximity"]) == (20640, 207, "category")
    bike = real("bike_share/daily-bike-share.csv", types={"dteday": {"date": "%m/%d/%Y"}})
    assert (len(bike), bike["dteday"][-1].as_py(), types()["dteday"]) == (731, datetime(2012, 12, 31), "date")
    assert (len(real("wine_cultivar/wine.csv")), types()["WineVariety"]) == (178, "integer")
    assert (len(real("iris/iris.csv")), types()["species"]) == (150, "category")
    both = [put(shared(f"diabetes_dp100/{n}.csv").read_bytes(), f"{n}.csv") for n in ("diabetes", "diabetes2")]
    assert len(ran(both)) == 15000
