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
    line = 1 + text.skipped
    try:
        with text.path.open(encoding="utf-8", newline="") as file:
            # A blank before a quote is skipped; a blank that is the delimiter is not.
            reader = csv.reader(file, delimiter=delimiter, skipinitialspace=delimiter != " ", strict=strict)
            for record in reader:
                if record:
                    yield line, record
                line = reader.line_num + 1 + text.skipped
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


def odd(text: Text, delimiter: str) -> tuple[bool, bool]:
    """Say whether some record may end in an empty field, and whether there may be digits as in `looks.Odd`."""
    from stages.looks import Odd, looked

    found = looked(text.path, lambda: Odd(delimiter))
    quoted = delimiter.encode() + b'""'
    ends = any(look.ends for look in found) or (text.quotes > 0 and any(quoted in part for part in _parts(text.path)))
    return ends, any(look.digits for look in found)


def may_hide_a_field(text: Text, delimiter: str, fields: int) -> bool:
    """Say whether some record that ends in an empty field may have one too many."""
    if text.quotes:
        return True
    # Without quotes each delimiter ends a field, so that their number tells; an empty line is no record.
    end = delimiter.encode()
    delimiters = sum(part.count(end) for part in _parts(text.path, overlap=0))
    return delimiters != (fields - 1) * text.lines or any(b"\n\n" in part for part in _parts(text.path))


def _parts(path: Path, overlap: int = 2) -> Iterator[bytes]:
    """Yield the bytes of a file, a line end at its end, in parts that overlap."""
    with path.open("rb") as file:
        tail = last = b""
        while chunk := file.read(CHUNK):
            yield tail + chunk
            tail, last = chunk[-overlap:] if overlap else b"", chunk[-1:]
        if last != b"\n":
            yield tail + b"\n"
