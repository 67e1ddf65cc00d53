"""Arrow's IPC messages looked at before they are unpacked: how large they become.

A compressed buffer of some kilobytes may unpack to gigabytes. Each says in its
first eight bytes to how many, and Arrow unpacks to no more than that.
"""

from collections.abc import Iterator
from struct import error, unpack_from
from typing import Any

MAGIC = b"ARROW1"
_DICTIONARY, _BATCH = 2, 3  # kinds of a message that hold buffers
_VIEW = 16  # bytes of a view of a text, the first four of which are its length


def stream(body: bytes) -> bytes:
    """Return the stream that a file holds, before the footer that repeats where its parts are.

    Raises:
        ValueError: it is no file, or cut off.
    """
    if not (body.startswith(MAGIC) and body.endswith(MAGIC)) or len(body) < 22:
        raise ValueError("no Arrow file")
    (footer,) = unpack_from("<i", body, len(body) - 10)
    end = len(body) - 10 - footer
    if not 8 <= end <= len(body) - 10:
        raise ValueError("no footer")
    return body[8:end]


def unpacked_size(source: Any) -> int:
    """Return how many bytes the compressed buffers of a stream say that they hold.

    Raises:
        ValueError: a message is damaged.
    """
    import pyarrow as pa

    try:
        return sum(size for message in pa.ipc.MessageReader.open_stream(source) for size in _sizes(message))
    except error:
        raise ValueError("a damaged message") from None


def _sizes(message: Any) -> Iterator[int]:
    """Yield the size of each compressed buffer of a message, unpacked."""
    about, body = memoryview(message.metadata), message.body
    root = _at(about, 0)
    kind = _field(about, root, 1)
    batch = _table(about, root, 2)
    if kind is None or batch is None or about[kind] not in (_DICTIONARY, _BATCH):
        return
    if about[kind] == _DICTIONARY:
        batch = _table(about, batch, 1)
    if batch is None or _table(about, batch, 3) is None or (buffers := _table(about, batch, 2)) is None:
        return
    (count,) = unpack_from("<I", about, buffers)
    if buffers + 4 + 16 * count > len(about):
        raise ValueError("more buffers than there are")
    for place in range(count):
        offset, length = unpack_from("<qq", about, buffers + 4 + 16 * place)
        if length >= 8:
            (size,) = unpack_from("<q", memoryview(body), offset)
            yield max(size, 0)  # -1 says that it is not compressed after all


def _at(about: memoryview, place: int) -> int:
    """Return where an offset that stands at a place leads."""
    (offset,) = unpack_from("<I", about, place)
    return int(place + offset)


def _field(about: memoryview, table: int, number: int) -> int | None:
    """Return the place of a flatbuffer table's field; None where the table lacks it."""
    (back,) = unpack_from("<i", about, table)
    (size,) = unpack_from("<H", about, table - back)
    if 4 + 2 * number >= size:
        return None
    (offset,) = unpack_from("<H", about, table - back + 4 + 2 * number)
    return table + offset if offset else None


def _table(about: memoryview, table: int, number: int) -> int | None:
    """Return the place of the table or vector that a field leads to."""
    place = _field(about, table, number)
    return None if place is None else _at(about, place)


def viewed_size(chunk: Any) -> int:
    """Return the length of all texts of an array of views, many of which may be of the same bytes."""
    import numpy as np

    views = chunk.buffers()[1]
    if views is None:
        return 0
    lengths = np.frombuffer(views, np.int32)[:: _VIEW // 4]
    return int(lengths[chunk.offset : chunk.offset + len(chunk)].sum(dtype=np.int64))
