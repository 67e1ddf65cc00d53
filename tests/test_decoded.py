"""Small Parquet files are decoded once, and what is read is what stands in the file now."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages import decoded, tables
from stages.tables import Column

COLUMNS = [Column("size", "number"), Column("kind", "category")]
TABLE = pa.table({"kind": ["a", None, "c"], "size": [1.0, 2.0, None], "more": [1, 2, 3]})


def written(path: Path, table: pa.Table = TABLE, **settings: int) -> Path:
    pq.write_table(table, path, **settings)
    return path


def read(path: Path) -> pa.Table:
    """Return a file's columns, read in each of the ways."""
    wanted = tables.schema(COLUMNS)
    whole = pa.concat_tables([wanted.empty_table(), *tables.parquet_batches(path, wanted)])
    assert whole == tables._read_parquet(path, wanted)
    assert whole.num_rows == tables.parquet_rows(path)
    return whole


def test_what_is_read_is_what_the_file_holds_now(tmp_path: Path) -> None:
    path = written(tmp_path / "part-000.parquet")
    assert read(path) == TABLE.select(["size", "kind"])
    assert decoded.table(path) is decoded.table(path)
    written(path, TABLE.slice(1))
    assert read(path) == TABLE.select(["size", "kind"]).slice(1)


@pytest.mark.parametrize(("rows", "group"), [(0, 2), (3, 2), (70_000, 100_000)])
def test_a_file_that_is_not_kept_is_read_all_the_same(rows: int, group: int, tmp_path: Path) -> None:
    table = pa.table({"kind": ["a"] * rows, "size": [1.0] * rows}).cast(tables.schema(COLUMNS[::-1]))
    path = written(tmp_path / "part-000.parquet", table, row_group_size=group)
    assert decoded.table(path) is None
    assert read(path) == table.select(["size", "kind"])


@pytest.mark.parametrize("groups", [{}, {"row_group_size": 2}])
def test_a_file_that_is_damaged_or_lacks_a_column_is_one_line(groups: dict[str, int], tmp_path: Path) -> None:
    path = written(tmp_path / "part-000.parquet", TABLE.select(["kind", "more"]), **groups)
    with pytest.raises(tables.DataError) as error:
        read(path)
    assert str(error.value) == f"{path} has no column 'size'; it has: kind, more"
    path.write_bytes(path.read_bytes()[:-20])
    for ask in (read, tables.parquet_rows):
        with pytest.raises(
            tables.DataError, match=r"^.*part-000\.parquet cannot be read: Parquet magic bytes not found"
        ):
            ask(path)
