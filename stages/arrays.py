"""Arrays of 64-bit values between numpy and Arrow, without copies.

By their buffers, because pyarrow's own ways import pandas: 0.2 s.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa


def to_arrow(values: NDArray[Any]) -> "pa.Array":
    """Return integers (n,) as Arrow's, of 64 bits."""
    import pyarrow as pa

    wide = np.ascontiguousarray(values, np.int64)
    return pa.Array.from_buffers(pa.int64(), len(wide), [None, pa.py_buffer(wide)])


def to_numpy(array: "pa.Array", dtype: str = "int64") -> NDArray[Any]:
    """Return Arrow's values (n,) of 64 bits, none missing, as numpy's of a type of 64 bits."""
    return np.frombuffer(array.buffers()[1], dtype, len(array), 8 * array.offset)
