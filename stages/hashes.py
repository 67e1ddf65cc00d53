"""The name of a row by its values: a SHA-256 that any program can compute, whatever library it reads tables with."""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.tables import Column

if TYPE_CHECKING:
    import pyarrow as pa

_BLOCK = 65_536  # rows hashed at a time


def row_hashes(table: "pa.Table", columns: Sequence[Column]) -> list[str]:
    """Return the SHA-256, in hexadecimal, of each row's values of `columns`, in their order.

    A value is the byte 1 and then, big-endian, a number as IEEE 754 binary64 (-0
    as 0), an integer as 8 bytes two's complement, a date as its microseconds since
    1970-01-01 as such an integer, a text or category as the SHA-256 of its UTF-8.
    A gap (null or NaN) is zeros of the same length. No name or type is hashed.
    """
    hashes: list[str] = []
    for start in range(0, table.num_rows, _BLOCK):
        block = table.slice(start, _BLOCK)
        values = np.hstack([np.zeros((block.num_rows, 0), np.uint8), *(_bytes(block, c) for c in columns)])
        hashes += [hashlib.sha256(row).hexdigest() for row in values]
    return hashes


def _bytes(table: "pa.Table", column: Column) -> "np.ndarray[Any, Any]":
    """Return a column's values as bytes (rows, 9), or (rows, 33) for text."""
    import pyarrow as pa

    values = table.column(column.name).combine_chunks()
    if column.type in ("category", "text"):
        return _digests(values)
    if column.type == "date":
        values = values.cast(pa.timestamp("us")).cast(pa.int64())
    stored, big_endian = (np.float64, ">f8") if column.type == "number" else (np.int64, ">i8")
    known = values.is_valid().to_numpy(zero_copy_only=False)
    numbers = values.fill_null(0).to_numpy(zero_copy_only=False).astype(stored)
    if column.type == "number":
        known = known & ~np.isnan(numbers)
        numbers = numbers + 0.0  # -0.0 + 0.0 is 0.0
    result = np.zeros((len(numbers), 9), np.uint8)
    result[:, 0] = 1
    result[:, 1:] = numbers.astype(big_endian).view(np.uint8).reshape(-1, 8)
    result[~known] = 0
    return result


def _digests(texts: Any) -> "np.ndarray[Any, Any]":
    """Return each text as its digest (rows, 33), computed once for each distinct text."""
    coded = texts.dictionary_encode()
    distinct = [hashlib.sha256(text.encode()).digest() for text in coded.dictionary.to_pylist()]
    # The last is the gap's.
    known = np.frombuffer(b"".join(b"\x01" + digest for digest in distinct) + bytes(33), np.uint8).reshape(-1, 33)
    result: np.ndarray[Any, Any] = known[coded.indices.fill_null(len(distinct)).to_numpy(zero_copy_only=False)]
    return result
