"""fetch and split by DuckDB alone: the same files read, the same files written, rows in the same order.

    python benchmarks/tables_duckdb.py CSV ROWS

It checks nothing: types are DuckDB's own guess, and nothing is described or searched for repeats.
"""

import sys
import time

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def main(source: str, rows: int) -> None:
    """Write raw.parquet and the parts into the working folder; print the seconds of both steps."""
    start = time.perf_counter()
    database = duckdb.connect()
    database.execute(f"SET memory_limit='{500 + 24 * rows // 10**6}MB'; SET temp_directory='spill'")
    database.execute(
        f"COPY (SELECT row_number() OVER () - 1 AS row, * FROM read_csv('{source}')) "
        "TO 'raw.parquet' (FORMAT parquet, COMPRESSION zstd)"
    )
    fetched = time.perf_counter()
    order = np.random.RandomState(0).permutation(rows)
    places = np.empty_like(order)
    places[order] = np.arange(rows)
    array = pa.Array.from_buffers(pa.int64(), rows, [None, pa.py_buffer(places)])
    pq.write_table(pa.Table.from_arrays([array], ["place"]), "order.parquet", compression="none", use_dictionary=False)
    del order, places, array
    test = -(-rows // 4)
    for name, low, high in (("test", 0, test), ("train", test, rows)):
        database.execute(
            "COPY (SELECT raw.* FROM read_parquet('raw.parquet') raw POSITIONAL JOIN read_parquet('order.parquet') o "
            f"WHERE o.place >= {low} AND o.place < {high} ORDER BY o.place) "
            f"TO '{name}.parquet' (FORMAT parquet, COMPRESSION zstd)"
        )
    print(fetched - start, time.perf_counter() - fetched)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
