"""Arrays of integers and floats between numpy and Arrow, without copies.

By their buffers, because pyarrow's own ways import pandas: 0.2 s.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa


def to_arrow(values: NDArray[Any]) -> "pa.Array":
    """Return integers (n,) as Arrow's, of 32 bits where they are, else of 64."""
    import pyarrow as pa

    narrow = values.dtype == np.int32
    flat = np.ascontiguousarray(values, np.int32 if narrow else np.int64)
    return pa.Array.from_buffers(pa.int32() if narrow else pa.int64(), len(flat), [None, pa.py_buffer(flat)])


def to_numpy(array: "pa.Array", dtype: str = "int64") -> NDArray[Any]:
    """Return Arrow's values (n,), any where one is missing, as numpy's of a type of as many bits."""
    return np.frombuffer(array.buffers()[1], dtype, len(array), np.dtype(dtype).itemsize * array.offset)


def present(array: "pa.Array", dtype: str = "int64") -> NDArray[Any]:
    """Return Arrow's values that are not missing as numpy's of a type of as many bits."""
    values = to_numpy(array, dtype)
    return values[~missing(array)] if array.null_count else values


def missing(array: "pa.Array") -> NDArray[np.bool_]:
    """Return which of Arrow's values (n,) are missing, of which there is one at least."""
    bits = np.unpackbits(np.frombuffer(array.buffers()[0], np.uint8), bitorder="little")
    gaps: NDArray[np.bool_] = bits[array.offset : array.offset + len(array)] == 0
    return gaps
