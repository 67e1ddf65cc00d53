"""Tables of numbers, read by a quick way: the same values, bytes and refusals as by the slow one."""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from stages import csvs, databases, fetch, numerals, params, readers, rules, tables
from stages.tables import DataError, Type

SOURCE = Path("data/source")


@pytest.fixture(autouse=True)
def _in_a_folder(in_folder: Callable[[], Path]) -> None:
    in_folder()
    Path("dvc.yaml").write_text("stages: {fetch: {cmd: x, deps: [data/source]}}\n", encoding="utf-8")
    SOURCE.mkdir(parents=True)


def fetched(*contents: str, **section: object) -> bytes:
    """Fetch CSV files, and return the bytes of the raw table."""
    names = [f"{SOURCE}/{place}.csv" for place, _ in enumerate(contents)]
    for name, content in zip(names, contents, strict=True):
        Path(name).write_text(content, encoding="utf-8")
    fetch.fetch(params.parse("fetch", {"source": names, **section}, fetch.FetchParams))
    return tables.RAW.read_bytes()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Callable[..., bytes]:
    """Return `fetched` by DuckDB alone."""

    def go(*contents: str, **section: object) -> bytes:
        with monkeypatch.context() as patched:
            patched.setattr(readers.Loaded, "numbers", lambda *_: None)
            return fetched(*contents, **section)

    return go


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which each reading by the quick way adds how it ended."""
    ended: list[str] = []
    batches = numerals.batches

    def watched(*given: object) -> object:
        try:
            yield from batches(*given)  # type: ignore[arg-type]  # as they come
            ended.append("whole")
        except readers.RefusedError:
            ended.append("refused")
            raise

    monkeypatch.setattr(numerals, "batches", watched)
    return ended


def numbers(rows: int) -> str:
    """Return a CSV file of integers, and of numbers of all sizes, with gaps."""
    random = np.random.RandomState(rows)
    values = random.standard_normal(rows) * 10.0 ** random.randint(-30, 30, rows)
    cells = [
        ["", "NA", "nan", "-0.0", "0", "inf"][i % 6] if i % 7 == 0 else repr(v) for i, v in enumerate(values.tolist())
    ]
    lines = (f"{i % 13 - 6 if i % 5 else ''};{cell};{i}" for i, cell in enumerate(cells))
    return "\n".join(["a;b;c", "", *lines, ""])


@pytest.mark.parametrize("size", [1, 40, 1000, 2**22])
def test_the_table_is_the_same_wherever_a_part_of_a_file_ends(
    size: int, slow: Callable[..., bytes], ways: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numerals, "_AT_ONCE", size)
    files = numbers(300), numbers(7), numbers(151).rstrip("\n")
    quick = fetched(*files)
    assert ways == ["whole"]
    assert quick == slow(*files)
    assert [str(f.type) for f in pq.read_schema(tables.RAW)] == ["int64", "int64", "double", "int64"]


def test_columns_are_named_left_out_and_ordered_as_by_the_slow_way(slow: Callable[..., bytes], ways: list[str]) -> None:
    assert fetched(",x,\n0,1,\n1,2.5,\n") == slow(",x,\n0,1,\n1,2.5,\n")
    given = {"columns": ["x", "y", "z"], "header": False, "keep": ["z", "x"]}
    assert fetched("1,2,3\n4,5,6.5\n", **given) == slow("1,2,3\n4,5,6.5\n", **given)
    assert pq.read_schema(tables.RAW).names == ["row", "z", "x"]
    missing = {"missing": ["-999", "."]}
    assert fetched("x,y\n1,-999\n.,2.5\n", **missing) == slow("x,y\n1,-999\n.,2.5\n", **missing)
    assert ways == ["whole"] * 3


@pytest.mark.parametrize(
    ("first", "late"),
    [("1", "2.5"), ("1", "x"), ("1.5", "x"), ("1", str(2**63)), ("1.5", "1d")],
)
def test_what_arrow_refuses_is_read_by_the_slow_way(
    first: str, late: str, slow: Callable[..., bytes], ways: list[str]
) -> None:
    content = "\n".join(["a,b", *([f"{first},1"] * 1500), f"{late},1", f"{first},2", ""])
    quick = fetched(content)
    assert "refused" in ways
    assert quick == slow(content)


def test_blank_lines_before_the_first_record_are_left_out(slow: Callable[..., bytes], ways: list[str]) -> None:
    for files in (("\n \na,b\n1,2\n3,4\n", "a,b\n5,6\n"), ("a,b\n1,2\n", "\n\na,b\n3,4\n", "\na,b\n5,6")):
        quick = fetched(*files)
        assert quick == slow(*files)
        assert pq.read_table(tables.RAW)["a"].to_pylist() == [1, 3, 5]
    assert ways == ["whole"] * 2
    fetched("\ufeff\n\t\na,b\n1,x\n3,y\n")
    assert pq.read_table(tables.RAW)["b"].to_pylist() == ["x", "y"]
    fetched("\n\n1,x\n3,y\n", columns=["a", "b"])
    assert pq.read_table(tables.RAW)["b"].to_pylist() == ["x", "y"]
    with pytest.raises(DataError, match=r"data/source/0\.csv, line 5: has 1 fields, expected 2"):
        fetched("\n\na,b\n1,2\n3\n")


def test_one_column_of_fractions_is_of_numbers() -> None:
    fetched("a\n1.5\n\n2.5e+01\n")
    assert pq.read_table(tables.RAW)["a"].to_pylist() == [1.5, 25.0]


@pytest.mark.parametrize("record", ["1", "1,2,3", "1,2,"])
def test_a_record_of_other_fields_is_named_as_ever(record: str) -> None:
    with pytest.raises(DataError, match=r"data/source/0\.csv, line 1501: has \d fields, expected 2"):
        fetched("\n".join(["a,b", *(["1,2"] * 1499), record, "1,2", ""]))


@pytest.mark.parametrize("section", [{"derive": {"z": "x + 1"}}, {"types": {"x": "category"}}, {"decimal": ","}])
def test_what_is_more_than_numbers_as_they_stand_goes_the_slow_way(section: dict[str, object], ways: list[str]) -> None:
    fetched("x;y\n1;2\n3;4\n", **section)
    fetched("x;y\n1;a\n3;b\n")
    fetched('x;y\n1;"2"\n3;4\n')
    fetched("x\n1\n\n")
    assert ways == []


def parsed(cell: str, type_: Type) -> object:
    """Return what the quick way makes of a cell."""
    path = Path("one.csv")
    path.unlink(missing_ok=True)
    path.write_text(f"0;{cell}\n", encoding="utf-8")
    cells = csvs.read([("t", path)], csvs.Form(["a", "b"], False, ";"), Path())
    if not cells.plain:
        return "not plain"
    try:
        (batch,) = numerals.batches(cells, {"b": type_}, ())
    except readers.RefusedError:
        return "refused"
    return batch.column(0)[0].as_py()


def test_a_cell_that_arrow_takes_for_a_number_is_one_by_the_rule() -> None:
    short = itertools.chain.from_iterable(itertools.product("019.-+en", repeat=k) for k in range(1, 4))
    words = ["nan", "-nan", "NaN", "inf", "-inf", "Infinity", "-INFINITY", "nan(1)", "-nan(ind)", "1e999", "-1e-999"]
    texts = [*map("".join, short), *words, "0x10", "1e-05", str(2**63 - 1), str(-(2**63)), str(2**63), "9" * 400]
    with databases.connection() as database:
        database.execute("CREATE TABLE t (c VARCHAR)")
        database.executemany("INSERT INTO t VALUES (?)", [[text] for text in texts])
        number = f"CASE WHEN {rules.number_rule('c', '.')} THEN TRY_CAST(c AS DOUBLE) END"
        integer = f"CASE WHEN {rules.matches('c', rules.INTEGER)} THEN TRY_CAST(c AS BIGINT) END"
        missing = rules.matches("c", rules.NAN)
        ruled = database.execute(f"SELECT c, {number}, {integer}, {missing} FROM t").fetchall()
    taken = 0
    for text, as_number, as_integer, is_nan in ruled:
        quick, whole = parsed(text, "number"), parsed(text, "integer")
        if quick not in ("not plain", "refused"):
            assert (quick is None) if is_nan else (quick == as_number is not None), text
            taken += not is_nan
        if whole not in ("not plain", "refused"):
            assert whole == as_integer is not None, text
    assert taken > 100


def test_a_column_may_have_any_name(slow: Callable[..., bytes], ways: list[str]) -> None:
    assert fetched("hash,x\n1,inf\n2,-inf\n") == slow("hash,x\n1,inf\n2,-inf\n")
    assert ways == ["whole"]
    fetched("hash,x\na,1\nb,2\n")
    assert pq.read_table(tables.RAW)["hash"].to_pylist() == ["a", "b"]


def test_a_line_without_end_is_left_to_the_slow_way(ways: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numerals, "LONGEST", 20)
    monkeypatch.setattr(numerals, "_AT_ONCE", 1)
    fetched(f"x,y\n1,2.{'0' * 30}\n")
    assert ways == ["refused"]


def test_equal_rows_are_counted_as_by_the_slow_way(slow: Callable[..., bytes], ways: list[str]) -> None:
    content = "x,y\n" + "0,-0.0\n-0,0.0\n,1\n0,1\n0,1.5\n,1\n,\n,\n1,0\n" * 3
    assert fetched(content) == slow(content)
    assert tables.raw_repeated() == 21
    fetched("x,y\n,1\n0,1\n-1,1\n,0\n")
    assert tables.raw_repeated() == 0
    assert ways == ["whole"] * 2
