"""Rows as CSV has them, with a header as MLflow's clients send it, or without as SageMaker's do."""

import csv
import io
from collections.abc import Sequence

import numpy as np
import orjson

from trialtree.serving import cells
from trialtree.serving.cells import Faults, Taken
from trialtree.serving.columns import Schema
from trialtree.serving.faults import Refused

_LONGEST = 1_000_000  # bytes of a header
_PLAIN = b"0123456789.,+-eE\n"  # of a table of numbers without quotes, blanks or gaps


def read(schema: Schema, body: bytes, limit: int | None, header: bool | None = None) -> tuple[Taken, bool]:
    """Return the rows of a CSV text, and whether it has a header; `header` None finds out.

    A first line is a header when half of its cells or more name a column of the model.

    Raises:
        Refused: the text is not CSV in UTF-8.
    """
    body = body.removeprefix(b"\xef\xbb\xbf")
    if b"\r" in body:
        body = body.replace(b"\r\n", b"\n")
    first = _first_record(body)
    if header is None:
        header = _names_columns(schema, first)
    names = None
    if header:
        names = [name if name in schema.places else name.strip() for name in _record(first)]
        body = body[len(first) + 1 :]
    if schema.all_numbers and (names is None or tuple(names) == schema.names):
        quick = _numbers(schema, body)
        if quick is not None:
            return Taken(quick), header
    return _records(schema, body, names, limit, int(header)), header


def _first_record(body: bytes) -> bytes:
    """Return the first line, and those after it that belong to a quoted field of it."""
    end = body.find(b"\n")
    line = body[: max(end, 0)]
    # A quote within a cell opens nothing.
    quotes = line.count(b'"') if line.startswith(b'"') or b',"' in line else 0
    while 0 <= end < _LONGEST and quotes % 2:
        start, end = end + 1, body.find(b"\n", end + 1)
        quotes += body.count(b'"', start, max(end, start))
    return body if end < 0 else body[:end]


def _names_columns(schema: Schema, first: bytes) -> bool:
    names = _record(first)
    # Half of them: a category may have the name of a column.
    return 2 * sum(name in schema.places or name.strip() in schema.places for name in names) >= max(len(names), 1)


def _record(line: bytes) -> list[str]:
    """Return the fields of a first line."""
    try:
        return next(csv.reader([_decoded(line)]), [])
    except csv.Error as error:
        raise Refused(400, f"the body is no CSV: line 1: {error}") from None


def _decoded(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise Refused(400, "the body is not UTF-8") from None


def _numbers(schema: Schema, body: bytes) -> np.ndarray | None:
    """Return the matrix of a plain table of numbers; None where it is anything else."""
    if body.translate(None, _PLAIN):
        return None
    lines = body.rstrip(b"\n").split(b"\n")
    width = len(schema.names)
    if not body or {line.count(b",") for line in lines} != {width - 1}:
        return None
    joined = b",".join(lines)
    try:
        found = orjson.loads(b"[%b]" % joined)  # nine times as quick as float, for numbers that JSON has too
    except orjson.JSONDecodeError:
        try:
            found = list(map(float, joined.split(b",")))
        except ValueError:
            return None
    values = np.array(found, dtype=np.float64)
    return values.reshape(len(lines), width) if np.isfinite(values).all() else None


def _records(schema: Schema, body: bytes, names: Sequence[str] | None, limit: int | None, lines: int) -> Taken:
    """Return the rows of any table; `lines` come before them."""
    faults = Faults(limit)
    if names is not None and not cells.check_names(schema, names, faults):
        return Taken(np.empty((0, len(schema.names))), faults)
    names = schema.names if names is None else names
    reader = csv.reader(io.StringIO(_decoded(body), newline=""), strict=True)
    try:
        found = [record for record in reader if record]
    except csv.Error as error:
        raise Refused(400, f"the body is no CSV: line {reader.line_num + lines}: {error}") from None
    for row, record in enumerate(found):
        if len(record) != len(names):
            faults.add(row, None, f"must have {len(names)} values, has {len(record)}")
    if faults.total:
        return Taken(np.empty((0, len(schema.names))), faults)
    columns = dict(zip(names, zip(*found, strict=True), strict=True)) if found else dict.fromkeys(names, ())
    values = np.full((len(found), len(schema.names)), np.nan)
    for place, each in enumerate(schema.fields):
        if each.name in columns:
            values[:, place] = cells.texts(each, columns[each.name], faults, schema.unknown)
    return Taken(values, faults)
