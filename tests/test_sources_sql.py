"""fetch of a query's rows: sqlite and PostgreSQL, types, order, and no password anywhere."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from stages import columnar, queries, tables
from tests.conftest import PROJECT
from tests.fetching import line, pin_said, read
from tests.postgres import POSTGRES, postgres


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setenv("WAREHOUSE_URL", f"sqlite:///{tmp_path}/w.db")


MEASURED = """
import resource, sys
from pathlib import Path
import psycopg, pyarrow.parquet, sqlalchemy
from stages import queries
def used(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
before = used()
(file,) = queries.download(queries.Sql.model_validate({"sql": {"url_env": "PG_URL", "query": sys.argv[1]}}), Path())
print(file.facts["rows"], used() - before)
"""


def query(text: str, url_env: str = "WAREHOUSE_URL") -> dict[str, Any]:
    return {"sql": {"url_env": url_env, "query": text}}


def sqlite(*statements: str) -> None:
    database = sqlite3.connect("w.db")
    with database:
        for statement in statements:
            database.execute(statement)
    database.close()


@pytest.fixture
def schema(monkeypatch: pytest.MonkeyPatch) -> Iterator[sa.Connection]:
    """A connection in a schema of its own, to which PG_URL leads."""
    name = f"trialtree_{os.getpid()}"
    engine = postgres()
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {name}")
        connection.exec_driver_sql(f"SET search_path TO {name}")
        connection.commit()
        monkeypatch.setenv("PG_URL", f"{POSTGRES}?options=-csearch_path%3D{name}")
        try:
            yield connection
        finally:
            connection.rollback()
            connection.exec_driver_sql(f"DROP SCHEMA {name} CASCADE")
            connection.commit()


def test_a_query_of_sqlite_is_read_in_its_order() -> None:
    sqlite("CREATE TABLE t (a INTEGER, b REAL, c TEXT, d INTEGER)",
           "INSERT INTO t VALUES (3, 1, 'x', NULL), (1, 2.5, '007', NULL), (2, NULL, '', NULL)")  # fmt: skip
    source = query("SELECT a, b, c FROM t WHERE c LIKE '%' ORDER BY a;")
    pin = pin_said(source)
    assert read(source, pin) == [
        {"source": "sql:WAREHOUSE_URL", "query": source["sql"]["query"], "dialect": "sqlite", "rows": 3, "sha256": pin}
    ]
    table = pq.read_table(tables.RAW, partitioning=None)
    assert table.drop_columns(["row"]).to_pylist() == [
        {"a": 1, "b": 2.5, "c": "007"}, {"a": 2, "b": None, "c": None}, {"a": 3, "b": 1.0, "c": "x"},
    ]  # fmt: skip
    Path("w.db").unlink()
    read(source, pin, drop=["a"])  # without the database


def test_the_hash_is_of_the_rows_and_not_of_the_file_s_bytes(tmp_path: Path) -> None:
    table = {"i": [1, None], "n": [0.5, None], "t": ["é", None], "b": [True, None]}
    path = tmp_path / "t.parquet"
    pieces = columnar.Pieces("sql:X", list(table), path)
    pieces.add(list(zip(*table.values(), strict=True)))
    pieces.finish()
    found = queries.digest(path)
    pq.write_table(pq.read_table(path), path, compression="none")
    # Never another: a pin that somebody has in params.yaml must hold with any version of pyarrow.
    assert queries.digest(path) == found == "c0825c3ff3d3ea8b64c" + found[19:]


@pytest.mark.usefixtures("schema")
def test_every_type_of_postgresql_that_a_table_has() -> None:
    source = query(
        "SELECT 1::smallint AS i, 2.5::numeric AS n, 3::real AS r, true AS b, 'x'::varchar AS t, "
        "date '2024-02-29' AS d, timestamptz '2024-02-29 12:00+02' AS z, time '10:11' AS h, "
        "'0b6f3c4e-1111-2222-3333-444455556666'::uuid AS u, NULL::int AS e ORDER BY 1",
        "PG_URL",
    )
    read(source, pin_said(source), types={"d": "date"})
    (row,) = pq.read_table(tables.RAW, partitioning=None).to_pylist()
    assert {name: str(value) for name, value in row.items()} == {
        "row": "0", "i": "1", "n": "2.5", "r": "3.0", "b": "true", "t": "x", "d": "2024-02-29 00:00:00",
        "z": "2024-02-29 10:00:00", "h": "10:11:00", "u": "0b6f3c4e-1111-2222-3333-444455556666", "e": "None",
    }  # fmt: skip


def test_nothing_is_written_to_the_database(schema: sa.Connection) -> None:
    schema.exec_driver_sql("CREATE TABLE t AS SELECT 1 AS a, 2 AS b")
    schema.commit()
    for statement in ("DELETE FROM t RETURNING a", "WITH gone AS (DELETE FROM t RETURNING a, b) SELECT * FROM gone"):
        assert line(query(statement, "PG_URL"), None).startswith("sql:PG_URL: ")
    assert schema.exec_driver_sql("SELECT count(*) FROM t").scalar() == 1
    sqlite("CREATE TABLE t (a)")
    assert "readonly" in line(query("INSERT INTO t VALUES (1) RETURNING a"), None)


def test_a_changed_query_s_rows_are_refused_and_the_order_suspected() -> None:
    sqlite("CREATE TABLE t (a)", "INSERT INTO t VALUES (1)")
    source = query("SELECT a FROM t")
    said = line(source, "0" * 64)
    assert "changed since it was pinned (the query has no ORDER BY" in said
    assert "(the query" not in line(query("SELECT a FROM t order  by a"), "0" * 64)


def test_memory_stays_flat_and_the_rows_whole(schema: sa.Connection) -> None:
    rows, width = 200_000, 9
    columns = ", ".join(f"i * {n} AS c{n}" for n in range(width))
    schema.exec_driver_sql(f"CREATE TABLE t AS SELECT {columns}, md5(i::text) AS k FROM generate_series(1, {rows}) i")
    schema.commit()
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, "SELECT * FROM t ORDER BY c1"], env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    read_, grown = map(int, done.stdout.split())
    assert read_ == rows
    assert grown < 120, grown  # MB; all rows at once as Python values are more
    assert pq.ParquetFile("0.parquet").metadata.num_row_groups == rows / queries.BATCH


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("SELECT 1 AS a, 2 AS A", "the query gives two columns 'a'; name them by AS"),
        ("SELECT 'x' AS a UNION ALL SELECT 1", "the column 'a' is int64 in some rows and string in others; CAST it"),
        ("SELECT x'00' AS a", "the column 'a' holds bytes, which no table has here; CAST it in the query"),
        ("SELECT 1 AS a WHERE 0", "the query gives no row"),
        ("CREATE TABLE u (a)", "attempt to write a readonly database"),
        ("PRAGMA query_only = ON", "the query gives no rows; it must be a SELECT"),
        ("SELECT nonsense FROM t", "no such table: t; see the query, and what WAREHOUSE_URL holds"),
    ],
)
def test_a_query_that_gives_no_table_is_said(text: str, said: str) -> None:
    sqlite("CREATE TABLE empty (a)")
    assert line(query(text), None).startswith(f"sql:WAREHOUSE_URL: {said}")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (None, "the environment variable WAREHOUSE_URL is not set; it must hold the address of the database, as "
         "postgresql+psycopg://USER:PASSWORD@HOST/DATABASE"),
        ("planted", "what WAREHOUSE_URL holds is no address of a database; it must be as "
         "postgresql+psycopg://USER:PASSWORD@HOST/DATABASE, signs of a password written as in addresses (%40 for @)"),
        ("postgresql://me@host:planted/db", "what WAREHOUSE_URL holds is no address of a database; it must be as "),
        ("mysql://me:planted@host/db", "the database's driver is not installed: `pip install mysqlclient`"),
        ("sqlite:///w.db", "the database's file is not there; see what WAREHOUSE_URL holds"),
        ("nonsense://me:planted@host/db", "Can't load plugin: sqlalchemy.dialects:nonsense"),
        ("postgresql+psycopg://me:planted@127.0.0.1:1/db", "connection failed"),
    ],
)  # fmt: skip
def test_a_database_that_cannot_be_reached_is_said(url: str | None, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WAREHOUSE_URL")
    if url:
        monkeypatch.setenv("WAREHOUSE_URL", url)
    assert line(query("SELECT 1"), None).startswith(f"sql:WAREHOUSE_URL: {said}")
    assert not Path("w.db").exists()


def test_a_source_that_is_no_query_is_said_without_what_may_be_a_password() -> None:
    where = "params.yaml: fetch.source"
    assert line(query("SELECT 1", "postgresql://me:planted@host/db"), None) == (
        f"{where}.sql: url_env must be the name of an environment variable, such as WAREHOUSE_URL"
    )
    assert line({"sql": {"url": "postgresql://me:planted@host/db", "url_env": "X", "query": "SELECT 1"}}, None) == (
        f"{where}.sql.url is not a key; did you mean url_env?"
    )
    assert line({"sql": {"url_env": "X"}}, None) == f"{where}.sql.query: is required"
    assert line(3, None) == f"{where}: must be text, got 3"
