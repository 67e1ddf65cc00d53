"""Tables that are larger than memory: the same rows, types and bytes as small ones get."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.model_selection import train_test_split

from stages import (
    casts,
    csvs,
    databases,
    fetch,
    looks,
    numbering,
    params,
    parquets,
    profiles,
    records,
    reordering,
    rules,
    split,
    tables,
    texts,
)
from stages.tables import Column
from stages.threads import threads
from tests.conftest import PROJECT
from tests.tabling import raw, write_params

SOURCE = Path("data/source/t.csv")


@pytest.fixture(autouse=True)
def _in_a_folder(in_folder: Callable[[], Path]) -> None:
    in_folder()
    Path("dvc.yaml").write_text("stages: {fetch: {cmd: x, deps: [data/source]}}\n", encoding="utf-8")
    SOURCE.parent.mkdir(parents=True)


def fetched(content: str) -> dict[str, list[object]]:
    """Fetch a CSV file, and return the types and the values of its columns."""
    SOURCE.write_text(content, encoding="utf-8")
    found, _ = fetch.fetch(params.parse("fetch", {"source": SOURCE.as_posix()}, fetch.FetchParams))
    table = pq.read_table(tables.RAW, partitioning=None)
    return {c.name: [c.type, *table[c.name].to_pylist()] for c in found}


@pytest.mark.parametrize(
    ("first", "late", "type_"),
    [
        ("1", "2", "integer"), ("1", "2.5", "number"), ("1", "1e3", "number"), ("1", "1_000", "category"),
        ("1", "007", "category"), ("1.5", "007", "category"), ("1.5", "x", "category"), ("1.5", "0", "number"),
        ("1.5", "1_0.5", "category"), ("1.5", "-0.5", "number"), ("1.5", "+7", "number"), ("1.5", "inf", "number"),
        ("1.5", "nan", "number"), ("2020-01-01", "2020-01-02T03:04", "date"), ("2020-01-01", "later", "category"),
        ("", "3", "integer"), ("", "3.5", "number"), ("", "2020-01-01", "date"), ("", "x", "category"),
        ("123456789012345678901", "1", "category"), ("123456789012345678901", "1.5", "number"),
        ("123456789012345678901", "x", "category"), ("-0", "0", "integer"), ("x", "1", "category"),
    ],
)  # fmt: skip
def test_a_value_far_down_counts_like_one_at_the_top(first: str, late: str, type_: str) -> None:
    rows = [first] * (3 * csvs.SAMPLE)
    below = fetched("\n".join(["a,b", *(f"{cell},1" for cell in [*rows, late])]))["a"]
    above = fetched("\n".join(["a,b", *(f"{cell},1" for cell in [late, *rows])]))["a"]
    assert (below[0], above[0]) == (type_, type_)
    assert below[1:] == [*above[2:], above[1]]


def test_the_sample_of_a_large_file_is_from_all_over_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csvs, "LARGE", 1000)
    asked: list[str] = []
    guessed = casts.guessed

    def told(database: object, source: str, *rest: object) -> object:
        asked.append(source)
        return guessed(database, source, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(casts, "guessed", told)
    rows = [*("1,a" for _ in range(50_000)), *("1.5,a" for _ in range(50_000))]
    assert fetched("\n".join(["a,b", *rows]))["a"][0] == "number"
    assert asked == ["sample"]


def test_what_is_quickly_told_a_number_is_one_by_the_rule() -> None:
    texts = ["".join(t) for k in range(1, 6) for t in itertools.product("019.-+e_xf", repeat=k)]
    with databases.connection() as database:
        Path("t.csv").write_text("\n".join(["c", *texts]), encoding="utf-8")
        database.execute("CREATE TABLE t AS FROM read_csv('t.csv', all_varchar=true)")
        plain, number = rules.plainly_number("c"), rules.number_rule("c", ".")
        wrong = database.execute(
            f"SELECT c FROM t WHERE {plain} AND TRY_CAST(c AS DOUBLE) IS NOT NULL AND NOT ({number})"
        ).fetchall()
        (quick,) = database.execute(f"SELECT count(*) FROM t WHERE {plain} AND {number}").fetchall()[0]
    assert wrong == []
    assert quick > 1000


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system gives a process all processors")
def test_a_process_has_a_thread_for_each_processor_that_it_may_use() -> None:
    asked = "import os, stages.threads; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
    env = {**os.environ, "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-c", f"{asked} print(stages.threads.threads(8), stages.threads.threads(0))"]
    assert subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout == "1 1\n"
    assert threads(3) == min(3, len(os.sched_getaffinity(0)))


def has_odd_digits(content: str, delimiter: str) -> bool:
    """Ask for what DuckDB takes for a number and the rule does not."""
    path = Path("odd.csv")
    path.unlink(missing_ok=True)  # what is written into an old file may be flushed to the disk at once
    path.write_text(content, encoding="utf-8")
    _, digits = records.odd(texts.Text("t", path, 1, 0, False, False), delimiter)
    return digits


@pytest.mark.slow
def test_what_the_parser_takes_for_a_number_in_a_plain_file_is_one_by_the_rule() -> None:
    products = itertools.chain.from_iterable(itertools.product("019.-+e_n", repeat=k) for k in range(1, 5))
    cells = [*map("".join, products), "nan", "inf", "1e999"]
    kept = [cell for cell in cells if not has_odd_digits(f"0,{cell}\n", ",")]
    with databases.connection() as database:
        Path("t.csv").write_text("\n".join(["c,d", *(f"{cell},0" for cell in kept)]), encoding="utf-8")
        database.execute("CREATE TABLE t AS FROM read_csv('t.csv', all_varchar=true)")
        taken = "isnan(TRY_CAST(c AS DOUBLE)) = false"
        counted = f"count(*) FILTER ({taken}), count(*) FILTER ({taken} AND NOT ({rules.number_rule('c', '.')}))"
        found = database.execute(f"SELECT {counted} FROM t").fetchall()[0]
    assert found[0] > 100
    assert found[1] == 0


@pytest.mark.parametrize("odd", ["007", "-00", "+01", "1_0", "+-1"])
def test_odd_digits_are_seen_wherever_a_part_of_the_file_ends(odd: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "_WORTH", 5)
    for size in range(1, 8):
        monkeypatch.setattr(looks, "_AT_ONCE", size)
        assert has_odd_digits(f"a;b\n{odd};1\n", ";")
        assert has_odd_digits(f"a,b\n1,{odd}\n", ",")
        assert has_odd_digits(f"{odd}", ",")
        assert not has_odd_digits("0.007,100\n-0.5,0\n10.00,a01,P_1,0,1e-05,2E+007", ",")
        assert not has_odd_digits("0;0\n-0;1e-05", ";")


def test_numbers_are_the_same_whoever_parses_them() -> None:
    random = np.random.RandomState(3)
    values = random.standard_normal(5000) * 10.0 ** random.randint(-20, 20, 5000)
    cells = [f"{v:{form}}" for v, form in zip(values, itertools.cycle(["", ".3f", "g", ".17e", "+.0f"]), strict=False)]
    cells = [cell for cell in cells if not cell.startswith(("+0", "-0", "0"))] + ["NA", "", "nan", "-inf", ".5", "5."]
    rows = "".join(f"1.5,{cell},x\n" for cell in cells)
    quick, slow = fetched("a,b,c\n" + rows), fetched('a,b,"c"\n' + rows)
    assert quick["b"][0] == "number"
    assert quick == slow


def test_a_last_column_with_gaps_hides_no_field() -> None:
    Path("t.csv").write_text("a,b\n1,\n2,3\n", encoding="utf-8")
    text = texts.clean("t", Path("t.csv"), "utf-8", Path("copy.csv"))
    assert records.odd(text, ",") == (True, False)
    assert not records.may_hide_a_field(text, ",", 2)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 2**19])
@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("a,b\n1,2\n", (2, 0, False, False)), ("a,b\n1,2", (2, 0, False, False)), ("a\n\n\n", (3, 0, False, False)),
        ('a,"b"\n1,"2"', (2, 4, False, False)), ("a, b\n1,!\n", (2, 0, True, False)), ("a\tb\n", (1, 0, True, True)),
    ],
)  # fmt: skip
def test_what_a_file_holds_is_seen_wherever_a_part_of_it_ends(
    content: str, found: tuple[object, ...], size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looks, "_WORTH", 4)
    monkeypatch.setattr(looks, "_AT_ONCE", size)
    path = Path("t.csv")
    path.write_text(content, encoding="utf-8")
    assert texts.clean("t", path, "utf-8", Path("copy.csv")) == texts.Text("t", path, *found)
    assert not Path("copy.csv").exists()


@pytest.mark.parametrize("size", [1, 3, 2**19])
@pytest.mark.parametrize("odd", ["\r\n", "\u00e9", "\ufeff"])
def test_what_is_not_plain_is_seen_wherever_a_part_of_it_ends(
    odd: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looks, "_WORTH", 4)
    monkeypatch.setattr(looks, "_AT_ONCE", size)
    path = Path("t.csv")
    for content in (f"{odd}a,b\n1,2\n", f"a,b{odd}\n1,2\n", f"a,b\n1,2{odd}"):
        path.write_bytes(content.encode())
        assert texts._plain("t", path) is None


def test_an_empty_field_too_many_is_told_from_a_last_one_that_is_missing() -> None:
    assert fetched("a,b\n1,\n2,3\n4,\n")["b"] == ["integer", None, 3, None]
    SOURCE.write_text("a,b\n1,2,\n2,3\n", encoding="utf-8")
    with pytest.raises(tables.DataError, match=r"line 2: has 3 fields, expected 2"):
        fetch.fetch(params.parse("fetch", {"source": SOURCE.as_posix()}, fetch.FetchParams))


def test_a_missing_value_of_figures_is_one_where_no_letter_is() -> None:
    SOURCE.write_text("a,b\n1,-999\n2,.\n3,4\n,5\n", encoding="utf-8")
    p = params.parse("fetch", {"source": SOURCE.as_posix(), "missing": ["-999", ".", "x"]}, fetch.FetchParams)
    fetch.fetch(p)
    table = pq.read_table(tables.RAW, partitioning=None)
    assert table.to_pydict() == {"row": [0, 1, 2, 3], "a": [1, 2, 3, None], "b": [None, None, 4, 5]}


def test_a_first_row_without_header_may_have_a_gap_in_letters() -> None:
    SOURCE.write_text("1,NA\n2,2\n3,4\n", encoding="utf-8")
    p = params.parse("fetch", {"source": SOURCE.as_posix(), "columns": ["a", "b"]}, fetch.FetchParams)
    fetch.fetch(p)
    table = pq.read_table(tables.RAW, partitioning=None)
    assert table.to_pydict() == {"row": [0, 1, 2], "a": [1, 2, 3], "b": [None, 2, 4]}


def some_table(rows: int) -> pa.Table:
    """Return a table of every type, with gaps."""
    random = np.random.RandomState(1)
    text = [None if i % 11 == 0 else f"text {i}" * (i % 5) for i in range(rows)]
    return pa.table(
        {
            "row": pa.array(range(rows), pa.int64()),
            "number": pa.array(random.random_sample(rows), mask=np.arange(rows) % 7 == 0),
            "integer": pa.array(random.randint(0, 10**12, rows)),
            "category": pa.array([f"level {i % 3}" for i in range(rows)]),
            "text": pa.array(text, pa.string()),
            "date": pa.array(random.randint(0, 10**15, rows), pa.timestamp("us")),
        }
    )


COLUMNS = [
    Column("row", "integer", "row"), Column("number", "number"), Column("integer", "integer"),
    Column("category", "category"), Column("text", "text"), Column("date", "date"),
]  # fmt: skip


def test_a_files_bytes_do_not_depend_on_the_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquets, "GROUP", 2000)
    table = some_table(9_999)
    found = set()
    for size in (10_000, 1, 700, 2048, 4096):
        path = Path(f"{size}.parquet")
        with parquets.Writer(path, COLUMNS) as writer:
            for batch in table.to_batches(size):
                writer.write(batch)
        found.add(path.read_bytes())
        assert pq.read_table(path).equals(table)
        assert pq.read_metadata(path).num_row_groups == 5
    assert len(found) == 1


@pytest.mark.parametrize("limit", [2**24, 50_000, 1000])
def test_rows_in_buckets_on_disk_come_in_the_order_of_rows_in_memory(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reordering, "_BYTES", limit)
    table = some_table(5000).append_column("place", pa.array(range(5000)))
    path = Path("t.parquet")
    pq.write_table(table, path, row_group_size=999)
    order = np.random.RandomState(0).permutation(5000)[:4000].astype(np.int32)
    folder = Path("buckets")
    folder.mkdir()
    orders = [order[:2500], order[2500:2501], order[2501:]]
    with reordering.reordered(path, orders, folder) as lanes, ThreadPoolExecutor(3) as pool:
        found = list(pool.map(list, lanes))
    for pieces, its in zip(found, orders, strict=True):
        assert pa.concat_tables(pieces).equals(table.take(pa.array(its)))
    assert (len(found[0]) > 1) == (limit < 2**24)
    assert sum(map(len, found)) <= 250 + len(orders)
    assert list(folder.iterdir()) == []


def test_an_error_in_one_order_ends_the_others() -> None:
    table = some_table(5000)
    pq.write_table(table, "t.parquet")
    orders = [np.arange(2500), np.arange(2500, 5000)]
    with pytest.raises(OSError, match="full"), reordering.reordered(Path("t.parquet"), orders, Path()) as lanes:
        raise OSError("full")
    assert list(lanes[1]) == []


def test_a_raw_table_whose_rows_are_not_in_order_is_refused() -> None:
    pq.write_table(some_table(10).take([0, 2, 1]), "t.parquet")
    refused = pytest.raises(RuntimeError, match="is not the number of the row")
    with refused, reordering.reordered(Path("t.parquet"), [np.arange(3)], Path()):
        pass


@pytest.mark.parametrize("by", ["random", "stratified"])
def test_a_million_rows_are_dealt_as_scikit_learn_deals_them(by: str) -> None:
    rows = 1_000_000
    raw(f"SELECT hash(range) % 7 AS kind, range AS x FROM range({rows})", kind="integer", x="integer")
    write_params(split={"target": "kind", "test": 0.2, "validation": 0.05, "by": by, "seed": 3})
    split.main()
    kinds = pq.read_table(tables.RAW)["kind"].to_numpy()
    everything = np.arange(rows)
    wanted = dict.fromkeys(("stratify",), None)
    train, held = train_test_split(
        everything, test_size=0.25, random_state=3, **(wanted | ({"stratify": kinds} if by == "stratified" else {}))
    )
    share = 0.2 / 0.25
    validation, test = train_test_split(
        held, test_size=share, random_state=3, **(wanted | ({"stratify": kinds[held]} if by == "stratified" else {}))
    )
    row = [Column(tables.ROW, "integer", "row")]
    for part, expected in (("train", train), ("validation", validation), ("test", test)):
        found = tables.read_part(part, [*row, Column("kind", "integer")])
        assert np.array_equal(found["row"].to_numpy(), expected)
        assert np.array_equal(found["kind"].to_numpy(), kinds[expected])


def test_a_long_table_is_described_roughly_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "MANY", 100)
    monkeypatch.setattr(numbering, "MANY", 100)
    raw(
        "SELECT range % 50 AS few, range // 2 AS many, 't' || range AS t, "
        "CASE WHEN range = 5 THEN 'inf'::DOUBLE ELSE range % 50 END AS x FROM range(50000)",
        few="integer", many="integer", t="text", x="number",
    )  # fmt: skip
    described = profiles.profile(tables.RAW, tables.raw_columns()[1:])
    few, many, t, x = described.pop("by_column")
    assert described == {"rows": 50_000, "columns": 4, "repeated_rows": 0, "approximate": ["distinct"]}
    assert few["distinct"] == 50
    assert many["distinct"] == pytest.approx(25_000, rel=0.05)
    assert t["distinct"] == pytest.approx(50_000, rel=0.4)
    assert (x["min"], x["max"], x["infinite"], few["mean"]) == (0, 49, 1, 24.5)


def test_many_columns_of_many_values_are_described() -> None:
    values = np.random.RandomState(0).standard_normal((10_000, 120)).round(6)
    lines = (",".join(map(repr, row)) for row in values.tolist())
    Path("params.yaml").write_text(f"fetch:\n  source: {SOURCE}\n", encoding="utf-8")
    SOURCE.write_text("\n".join([",".join(f"c{i}" for i in range(120)), *lines, ""]), encoding="utf-8")
    fetch.main()
    described = json.loads(Path("reports/data.json").read_text(encoding="utf-8"))["by_column"]
    assert [c["distinct"] for c in described] == [len(np.unique(column)) for column in values.T]
    assert [c["min"] for c in described] == values.min(axis=0).tolist()


def test_a_table_of_many_columns_fits_too() -> None:
    header = ",".join(f"c{i}" for i in range(600))
    line = ",".join(str(i % 10 + 0.5) for i in range(600))
    found = fetched("\n".join([header, *([line] * 3000)]))
    assert len(found) == 600
    assert {column[0] for column in found.values()} == {"number"}


# A process begins with the peak of the one that it was forked from, so between it and this one is a small one.
PEAK = """
import resource, subprocess, sys
subprocess.run([sys.executable, "-m", sys.argv[1]], stdout=subprocess.DEVNULL, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def peak(stage: str) -> float:
    """Run a stage in a process of its own, and return its largest memory in MB."""
    command = [sys.executable, "-c", PEAK, f"stages.{stage}"]
    env = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout) / 1000


@pytest.mark.slow
@pytest.mark.parametrize("by", [{"by": "random"}, {"by": "stratified"}, {"by": "group", "group": "id"},
                                {"by": "time", "time": "id"}, {"by": "hash", "key": "id"}])  # fmt: skip
def test_three_million_rows_are_fetched_and_dealt_in_little_memory(by: dict[str, str]) -> None:
    rows = 3_000_000
    with databases.connection() as database:
        numbers = ", ".join(f"round(hash(range * 8 + {i}) / 1e15, 3) AS x{i}" for i in range(8))
        database.execute(
            f"COPY (SELECT hash(range) % 3 AS kind, range // 3 AS id, {numbers} FROM range({rows})) TO '{SOURCE}'"
        )
    Path("params.yaml").write_text(
        json.dumps({"fetch": {"source": SOURCE.as_posix()}, "split": {"target": "kind", "test": 0.25, **by}})
    )
    allowed = 500 + 24 * rows / 1e6
    assert peak("fetch") < allowed
    assert peak("split") < allowed
    dealt = json.loads((tables.SPLIT / "report.json").read_text())["rows"]
    assert sum(dealt.values()) == rows
