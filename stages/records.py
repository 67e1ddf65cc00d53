"""Records of a CSV file by Python's own parser, and lines by their bytes: what DuckDB does not say of a file."""

import csv
import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from stages.archives import CHUNK
from stages.tables import DataError
from stages.texts import Text

LONGEST = 16 * 2**20  # bytes of a record, quoted line ends included
_SPOTS, _AT_SPOT = 50, 20  # places all over a large file, and lines of each, for the sample
LARGE = 2**24  # bytes
_LOOKED_AT = 2**18  # bytes at a time


class AfterQuoteError(DataError):
    """Something stands between a closing quote and the end of its field."""


def first_rows(text: Text, header: bool) -> Iterator[bytes]:
    """Yield the lines of a file without quotes, the header left out."""
    with text.path.open("rb") as file:
        rows = (line.rstrip(b"\n") + b"\n" for line in file if line.strip())
        if header:
            next(rows, None)
        yield from rows


def spotted(text: Text) -> Iterator[bytes]:
    """Yield lines from all over a file without quotes, its end among them."""
    with text.path.open("rb") as file:
        for spot in range(1, _SPOTS + 1):
            file.seek(min(text.size * spot // _SPOTS, text.size - LONGEST // 256))
            file.readline(LONGEST)  # the rest of a line
            yield from (line.rstrip(b"\n") + b"\n" for line in islice(file, _AT_SPOT))


def first_lines(text: Text) -> str:
    """Return the lines of the first record, whose quotes may hold line ends."""
    with text.path.open(encoding="utf-8", newline="") as file:
        record = next(line for line in file if line.strip())
        while record.count('"') % 2 and len(record) < LONGEST and (line := file.readline()):
            record += line
    return record


def _records(text: Text, delimiter: str, strict: bool) -> Iterator[tuple[int, list[str]]]:
    """Yield each record that is not an empty line, with the number of its first line, by Python's own parser."""
    limit = csv.field_size_limit(LONGEST)
    line = 1
    try:
        with text.path.open(encoding="utf-8", newline="") as file:
            # A blank before a quote is skipped; a blank that is the delimiter is not.
            reader = csv.reader(file, delimiter=delimiter, skipinitialspace=delimiter != " ", strict=strict)
            for record in reader:
                if record:
                    yield line, record
                line = reader.line_num + 1
    except csv.Error as error:
        if "expected after" in str(error):
            raise AfterQuoteError(f"{text.shown}, line {line}: a closing quote must be the end of its field") from None
        raise DataError(
            f"{text.shown}, line {line}: a quote that opens in this record is never closed; "
            "the file is cut off, or the quote is part of a value"
        ) from None
    finally:
        csv.field_size_limit(limit)


def first_record(text: Text, delimiter: str) -> list[str]:
    """Return the fields of the first record, stripped of blanks."""
    lines = first_lines(text)
    if _is_json(lines):
        raise DataError(f"{text.shown}: the first line is JSON; must be CSV or Parquet")
    try:
        _, record = next(_records(text, delimiter, strict=True))
    except AfterQuoteError:
        # Spaces there are fine; at anything else DuckDB would take the whole file for the first record.
        if not _ends_fields_by_quotes(lines, delimiter):
            raise
        _, record = next(_records(text, delimiter, strict=False))
    return [cell.strip() for cell in record]


def _is_json(line: str) -> bool:
    """Say whether a line is an object of JSON."""
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _ends_fields_by_quotes(record: str, delimiter: str) -> bool:
    """Say whether nothing but spaces follows the closing quotes of a record."""
    blanks, end = "" if delimiter == " " else " *", re.escape(delimiter)
    field = f'{blanks}"(?:[^"]|"")*+"{blanks}|(?!{blanks}")[^{end}\n]*'
    return re.match(f"(?:{field})(?:{end}(?:{field}))*+(?:\n|$)", record) is not None


def wrong_record(text: Text, delimiter: str, fields: int) -> DataError | None:
    """Return what is wrong with the first record that has not `fields` fields, or whose quotes are wrong."""
    after_quote: DataError | None = None
    for strict in (True, False):
        try:
            for line, record in _records(text, delimiter, strict):
                if len(record) != fields:
                    return DataError(f"{text.shown}, line {line}: has {len(record)} fields, expected {fields}")
        except AfterQuoteError as error:
            after_quote = error  # blanks there are fine, so the fault may be another one: look on less strictly
        except DataError as error:
            return error
        else:
            break
    return after_quote


def may_hide_a_field(text: Text, delimiter: str, fields: int) -> bool:
    """Say whether some record may end in an empty field too many."""
    end = delimiter.encode()
    if not any(_has_pair(part, end + b"\n") for part in _parts(text.path)) and not (
        text.quotes and any(end + b'""' in part for part in _parts(text.path))
    ):
        return False
    if text.quotes:
        return True
    # Without quotes each delimiter ends a field, so that their number tells; an empty line is no record.
    delimiters = sum(part.count(end) for part in _parts(text.path, overlap=0))
    return delimiters != (fields - 1) * text.lines or any(b"\n\n" in part for part in _parts(text.path))


def may_have_odd_digits(text: Text, delimiter: str) -> bool:
    """Say whether there may be what DuckDB takes for a number and the rule does not: 007, 1_000, +-1.

    Cells stand in no quotes and have no blanks around them.
    """
    import numpy as np

    # Into the same memory all the time: to make it anew for each part may take longer than all the rest.
    held = bytearray(b"\n" * (_LOOKED_AT + 2))  # the last two bytes, and those that are read
    characters = np.frombuffer(held, np.uint8)
    odd, some = np.empty((2, _LOOKED_AT), bool)
    with text.path.open("rb") as file:
        while count := file.readinto(memoryview(held)[2:]):
            before, here, after = (characters[start : start + count] for start in range(3))
            # Up to the comma and the minus all characters but the digits and the point end a cell or begin a number.
            np.less(before, ord("."), out=odd[:count])
            if delimiter > ".":
                odd[:count] |= np.equal(before, ord(delimiter), out=some[:count])
            odd[:count] &= np.equal(here, ord("0"), out=some[:count])
            odd[:count] &= np.greater(after, ord("/"), out=some[:count])
            if odd[:count].any():
                return True
            # To look for one character takes a tenth of the time that two take.
            for sign, wrong in ((b"+", rb"\+-"), (b"_", rb"\d_\d")):
                if held.find(sign, 0, count + 2) >= 0 and re.compile(wrong).search(held, 0, count + 2):
                    return True
            held[:2] = held[count : count + 2]
    return False


def _has_pair(part: bytes, pair: bytes) -> bool:
    """Say whether two bytes stand side by side: `pair in part`, five times as fast."""
    import numpy as np

    wanted = np.frombuffer(pair, np.uint16)
    return any((np.frombuffer(part, np.uint16, (len(part) - at) // 2, at) == wanted).any() for at in (0, 1))


def _parts(path: Path, overlap: int = 2) -> Iterator[bytes]:
    """Yield the bytes of a file, a line end at its end, in parts that overlap."""
    with path.open("rb") as file:
        tail = last = b""
        while chunk := file.read(CHUNK):
            yield tail + chunk
            tail, last = chunk[-overlap:] if overlap else b"", chunk[-1:]
        if last != b"\n":
            yield tail + b"\n"
