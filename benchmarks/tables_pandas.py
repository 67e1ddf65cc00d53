"""fetch and split as a notebook does: read_csv, train_test_split, to_parquet.

python benchmarks/tables_pandas.py CSV
"""

import sys
import time

import pandas as pd
from sklearn.model_selection import train_test_split


def main(source: str) -> None:
    """Write the parts into the working folder; print the seconds of reading and of the rest."""
    start = time.perf_counter()
    table = pd.read_csv(source)
    read = time.perf_counter()
    train, test = train_test_split(table, test_size=0.25, random_state=0)
    train.to_parquet("train.parquet")
    test.to_parquet("test.parquet")
    print(read - start, time.perf_counter() - read)


if __name__ == "__main__":
    main(sys.argv[1])
