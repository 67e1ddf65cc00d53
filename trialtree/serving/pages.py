"""The pages of a Parquet file looked at before they are unpacked: how large they become, and how they are encoded.

What the footer says of a column's size is only said. Each page has a header
(Thrift's compact protocol), and Arrow unpacks to no more than that says.
"""

from typing import Any

# Not DELTA_BYTE_ARRAY, in which each text repeats the start of the last one: a megabyte becomes terabytes.
_ENCODINGS = {0: "PLAIN", 2: "PLAIN_DICTIONARY", 3: "RLE", 4: "BIT_PACKED", 5: "DELTA_BINARY_PACKED",
              6: "DELTA_LENGTH_BYTE_ARRAY", 8: "RLE_DICTIONARY", 9: "BYTE_STREAM_SPLIT"}  # fmt: skip
_MOST = 20_000  # pages
_DEEP = 8  # structs in structs
_KINDS = {5: 2, 7: 2, 8: 4}  # the header of a kind of page, and the field in it that has the encoding


def unpacked_size(body: bytes, metadata: Any) -> int:
    """Return how many bytes the pages of a file say that they hold.

    Raises:
        ValueError: a page is damaged, there are very many, or one is encoded in a way that is not taken.
    """
    size = pages = 0
    for group in range(metadata.num_row_groups):
        for place in range(metadata.num_columns):
            column = metadata.row_group(group).column(place)
            starts = [column.data_page_offset, column.dictionary_page_offset or 0]
            at = min(start for start in starts if start > 0)
            end = at + column.total_compressed_size
            pages += 1
            while at < end and pages < _MOST:
                header, at = _struct(body, at, 0)
                unpacked, packed = _sizes(header)
                size, at, pages = size + unpacked, at + packed, pages + 1
    if pages >= _MOST:
        raise ValueError("too many pages")
    return size


def _sizes(header: dict[int, Any]) -> tuple[int, int]:
    """Return the sizes of a page, unpacked and packed, whose encoding is one of those that are taken."""
    unpacked, packed = header.get(2), header.get(3)
    if type(unpacked) is not int or type(packed) is not int or min(unpacked, packed) < 0:
        raise ValueError("a page without a size")
    for kind, field in _KINDS.items():
        inner = header.get(kind, {field: 0})
        if not isinstance(inner, dict) or type(inner.get(field)) is not int or inner[field] not in _ENCODINGS:
            raise ValueError("an encoding that is not taken")
    return unpacked, packed


def _struct(body: bytes, at: int, depth: int) -> tuple[dict[int, Any], int]:
    """Return the fields of a struct that are numbers or structs, and where it ends."""
    if depth > _DEEP:
        raise ValueError("too deep")
    found: dict[int, Any] = {}
    number = 0
    while kind := body[at]:
        at += 1
        if kind >> 4:
            number += kind >> 4
        else:
            number, at = _zigzag(body, at)
        value, at = _value(body, at, kind & 15, depth)
        found[number] = value
    return found, at + 1


def _value(body: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in (1, 2):  # true, false
        return kind == 1, at
    if kind == 3:  # a byte
        return body[at], at + 1
    if kind in (4, 5, 6):  # whole numbers
        return _zigzag(body, at)
    if kind == 7:  # a double
        return None, at + 8
    if kind == 8:  # bytes
        length, at = _varint(body, at)
        return None, at + length
    if kind == 12:  # a struct
        return _struct(body, at, depth + 1)
    raise ValueError("no page has such a field")


def _varint(body: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = body[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("too long a number")


def _zigzag(body: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(body, at)
    return (value >> 1) ^ -(value & 1), at
