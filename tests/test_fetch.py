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

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stages import fetch, params, profiles, sources, tables
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
    found = fetch.fetch(p)
    assert list(tables.raw_columns()) == [tables.Column("row", "integer", "row"), *found]
    table = pq.read_table(tables.RAW, partitioning=None)
    assert table["row"].to_pylist() == list(range(len(table)))
    assert not fetch.SCRATCH.exists()
    return table.drop_columns(["row"])


def types() -> dict[str, str]:
    return {c.name: c.type for c in tables.raw_columns() if c.name != "row"}


def line(source: Any, **section: Any) -> str:
    """Return the one line that a fetch stops with; nothing is left behind."""
    with pytest.raises(UserError) as caught:
        ran(source, **section)
    assert "\n" not in str(caught.value)
    assert not tables.RAW.exists()
    assert not fetch.SCRATCH.exists()
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
    heavy = "{'sklearn', 'pandas', 'mlflow', 'pyarrow', 'scipy', 'catboost'}"
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


def test_line_ends_may_be_mixed() -> None:
    assert ran(put('a,b\r\n1,"x\ny"\n2,z\r\n')).to_pylist() == [{"a": 1, "b": "x\ny"}, {"a": 2, "b": "z"}]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_in_the_first_line(delimiter: str) -> None:
    assert ran(put(f'"a,;|",b\n1,2\n'.replace(",b", f"{delimiter}b").replace("1,", f"1{delimiter}"))).to_pylist() == [
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


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(2, 4).flatmap(
        lambda n: st.lists(
            st.lists(st.text(st.sampled_from('ab,"\n\r; é|'), max_size=6), min_size=n, max_size=n), min_size=1
        )
    ),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_what_python_writes_is_read_back(rows: list[list[str]], delimiter: str, end: str) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end)
    names = [f"c{i}" for i in range(len(rows[0]))]
    writer.writerow(names)
    writer.writerows(rows)
    table = ran(put(text.getvalue()), delimiter=delimiter, types=dict.fromkeys(names, "text"))
    expected = [[cell.replace("\r\n", "\n").replace("\r", "\n").strip(" \t") or None for cell in row] for row in rows]
    assert [list(row.values()) for row in table.to_pylist()] == expected
