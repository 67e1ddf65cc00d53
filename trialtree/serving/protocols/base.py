"""What the protocols share: bodies to rows, figures to bodies."""

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from trialtree.serving import arrow, ipc, pages, rows, texts
from trialtree.serving.cells import Taken
from trialtree.serving.columns import Schema
from trialtree.serving.faults import Refused, cut, shown

_CONSTANTS = {"NaN": None, "Infinity": math.inf, "-Infinity": -math.inf}
FAULTS = 100  # of a body that are kept
_REMEMBERED = 200  # schemas of tables
_SMALL = 50_000  # bytes of such a schema
_UNPACKED = 100_000_000  # bytes of a table
JSON, CSV = "application/json", "text/csv"
STREAM, FILE, PARQUET = (
    "application/vnd.apache.arrow.stream", "application/vnd.apache.arrow.file", "application/vnd.apache.parquet",
)  # fmt: skip
TABLES = {STREAM: STREAM, FILE: FILE, PARQUET: PARQUET, "application/x-parquet": PARQUET}

Figures = np.ndarray[Any, Any]
Answer = tuple[bytes, str]  # a body, and its type
Render = Callable[[Figures, Sequence[str] | None], Answer]  # of labels or numbers (rows,), or probabilities and names


@dataclass(frozen=True)
class Request:
    """What a client sent."""

    body: bytes
    media: str  # the type of the body, without parameters and in small letters
    options: Mapping[str, str]  # the parameters of that type
    accept: str
    probabilities: bool | None  # what the query says
    most: int  # rows
    model: tuple[str, str]  # name and version of the one that is asked


@dataclass(frozen=True)
class Question:
    """What is asked of a model, and how the answer is written."""

    taken: Taken
    probabilities: bool
    render: Render


def parsed(body: bytes) -> Any:
    """Return what JSON says.

    Raises:
        Refused: it is none.
    """
    if not body.strip():
        raise Refused(400, "the body is empty")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if b"NaN" in body or b"Infinity" in body:
            return _lenient(body)
        # Its message names the place, and never the content.
        raise Refused(400, f"the body is no JSON: {cut(str(error))}") from None


def _lenient(body: bytes) -> Any:
    """Return what JSON says that has NaN and infinities, as MLflow's client writes them: NaN is a gap."""
    try:
        if b"\\ud" in body.lower():
            raise ValueError("halves of characters, which no answer could repeat")
        return json.loads(body, parse_constant=_CONSTANTS.get, parse_int=_whole)
    except (ValueError, RecursionError):
        raise Refused(400, "the body is no JSON, of which NaN and Infinity are no part either") from None


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) < 19 else float(digits)


def checked(taken: Taken) -> Taken:
    """Return rows that have no fault, and of which there are some.

    Raises:
        Refused: they are not so.
    """
    if taken.faults.total:
        raise Refused.of(taken.faults, taken.faults.total)
    if not len(taken.values):
        raise Refused(422, "there are no rows")
    return taken


def few(count: int, most: int) -> None:
    """Refuse more than `most` rows."""
    if count > most:
        raise Refused(413, f"there are {count} rows, and at most {most} are taken; send them in parts")


def listed(value: Any, what: str, most: int) -> list[Any]:
    """Return a value that must be a list of at most `most` rows."""
    if not isinstance(value, list):
        raise Refused(422, f"{what}: must be a list, got {shown(value)}")
    few(len(value), most)
    return value


def of_rows(schema: Schema, value: Any, what: str, most: int) -> Taken:
    """Return rows that are all lists, or all objects."""
    found = listed(value, what, most)
    if found and isinstance(found[0], dict):
        return rows.from_records(schema, found, FAULTS)
    if found and not isinstance(found[0], list) and len(schema.names) == 1:
        found = [[each] for each in found]
    return rows.from_lists(schema, found, FAULTS)


def of_split(schema: Schema, value: Any, what: str, most: int) -> Taken:
    """Return rows that are given as pandas's `split`: columns, data, and an index that means nothing."""
    if not isinstance(value, dict) or "data" not in value:
        raise Refused(422, f"{what}: must be an object of columns and data, got {shown(value)}")
    if strange := value.keys() - {"columns", "data", "index"}:
        raise Refused(422, f"{what}: takes columns, data and index, not {cut(min(strange))!r}")
    found, names, index = listed(value["data"], f"{what}.data", most), value.get("columns"), value.get("index")
    if names is not None and not isinstance(names, list):
        raise Refused(422, f"{what}.columns: must be a list, got {shown(names)}")
    if index is not None and (not isinstance(index, list) or len(index) != len(found)):
        raise Refused(422, f"{what}.index: must be a list of as many values as there are rows")
    return rows.from_lists(schema, found, FAULTS, names)


def of_columns(schema: Schema, value: dict[Any, Any], most: int) -> Taken:
    """Return rows that are given column by column."""
    few(max((len(each) for each in value.values() if isinstance(each, list)), default=0), most)
    flat = {k: [v[0] if isinstance(v, list) and len(v) == 1 else v for v in each] if isinstance(each, list) else each
            for k, each in value.items()}  # fmt: skip
    return rows.from_columns(schema, flat, FAULTS)


def of_csv(schema: Schema, request: Request) -> tuple[Taken, bool]:
    """Return the rows of CSV, and whether it has a header."""
    charset = request.options.get("charset", "utf-8").lower().replace("_", "-")
    if charset not in ("utf-8", "utf8", "us-ascii", "ascii"):
        raise Refused(415, f"the charset must be utf-8, got {cut(charset)!r}")
    header = request.options.get("header", "").lower()
    if header not in ("", "present", "absent"):
        raise Refused(415, f"header must be present or absent, got {cut(header)!r}")
    if not request.body.strip():
        raise Refused(400, "the body is empty")
    few(request.body.count(b"\n") - 1, request.most)  # one may be the header's
    taken, had = texts.read(schema, request.body, FAULTS, {"present": True, "absent": False}.get(header))
    few(len(taken.values), request.most)
    return taken, had


def of_table(schema: Schema, request: Request) -> Taken:
    """Return the rows of an Arrow stream or file, or of Parquet; a column beyond the model's is refused."""
    import pyarrow as pa

    if not request.body:
        raise Refused(400, "the body is empty")
    try:
        table = _opened(schema, request.body, TABLES[request.media], request.most)
        return arrow.taken(schema, table, limit=FAULTS)
    except (pa.ArrowException, OSError, ValueError, IndexError, KeyError, NotImplementedError, MemoryError):
        raise Refused(400, f"the body is no {TABLES[request.media]}, or damaged") from None


def _opened(schema: Schema, body: bytes, media: str, most: int) -> Any:
    """Return the table of a body, read no further than its columns, its size and its number of rows allow."""
    import pyarrow as pa

    if media == PARQUET:
        import pyarrow.parquet as pq

        # A text of a megabyte, said once and repeated in each row, is left so.
        texts_of = [each.name for each in schema.fields if not each.numeric]
        with pq.ParquetFile(pa.BufferReader(body), read_dictionary=texts_of) as file:
            few(file.metadata.num_rows, most)
            _check_columns(schema, file.schema_arrow)
            _refuse_bomb(pages.unpacked_size(body, file.metadata))
            table = file.read(use_threads=False)
    else:
        source = pa.py_buffer(body if media == STREAM else ipc.stream(body))
        with pa.ipc.open_stream(source) as opened:
            _check_columns(schema, opened.schema)
            _refuse_bomb(ipc.unpacked_size(source))
            batches, count = [], 0
            for batch in opened:
                count += batch.num_rows
                few(count, most)
                batches.append(batch)
            table = pa.Table.from_batches(batches, schema=opened.schema)
    table.validate(full=True)
    _refuse_bomb(sum(map(_viewed, table.columns)))
    return table


def _check_columns(schema: Schema, found: Any) -> None:
    """Refuse columns that the model does not take, before anything of them is read."""
    if found in schema.tables:
        return
    if strange := [name for name in found.names if name not in schema.places]:
        raise Refused(
            422, f"there is no column {cut(strange[0])!r}; the model takes: {', '.join(map(cut, schema.names[:8]))}"
        )
    if (faults := arrow.check(schema, found, FAULTS)).total:
        raise Refused.of(faults, faults.total)
    # Its metadata may be of any size, and would stay.
    if len(schema.tables) < _REMEMBERED and found.serialize().size < _SMALL:
        schema.tables.add(found)


def _viewed(column: Any) -> int:
    """Return the length of a column's texts where they are views, which may all be of the same bytes."""
    import pyarrow as pa

    chunks = [each.dictionary if pa.types.is_dictionary(each.type) else each for each in column.chunks]
    return sum(ipc.viewed_size(each) for each in chunks if pa.types.is_string_view(each.type))


def _refuse_bomb(size: int) -> None:
    if size > _UNPACKED:
        raise Refused(413, f"the table is larger than {_UNPACKED / 1e6:g} MB when it is unpacked")


def params(value: Any, request: Request) -> bool:
    """Return whether probabilities are asked for, by `params` of a body or by the query."""
    if value is None:
        return bool(request.probabilities)
    if not isinstance(value, dict):
        raise Refused(422, f"params: must be an object, got {shown(value)}")
    if strange := value.keys() - {"probabilities"}:
        raise Refused(422, f"params: there is no {cut(min(strange))!r}; there is: probabilities")
    asked = value.get("probabilities", False)
    if not isinstance(asked, bool):
        raise Refused(422, f"params.probabilities: must be true or false, got {shown(asked)}")
    return asked if request.probabilities is None else request.probabilities


def plain(figures: Figures) -> Any:
    """Return figures as orjson takes them."""
    return np.ascontiguousarray(figures) if figures.dtype == np.float64 else figures.tolist()


def named(figures: Figures, names: Sequence[str]) -> list[dict[str, float]]:
    """Return probabilities as objects by name."""
    return [dict(zip(names, each, strict=True)) for each in figures.tolist()]


def dumped(value: Any) -> bytes:
    """Return JSON."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)


def as_csv(figures: Figures, names: Sequence[str] | None) -> Answer:
    """Return a line for each row, without a header."""
    if figures.dtype == np.float64 and names is None:
        return "\n".join(map(repr, figures.tolist())).encode() + b"\n", f"{CSV}; charset=utf-8"
    found = figures.tolist()
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(found if names else [[each] for each in found])
    return text.getvalue().encode(), f"{CSV}; charset=utf-8"


def as_table(media: str) -> Render:
    """Return what writes figures as Arrow or Parquet."""

    def render(figures: Figures, names: Sequence[str] | None) -> Answer:
        import pyarrow as pa

        columns = {"prediction": figures} if names is None else dict(zip(names, figures.T, strict=True))
        found = {k: v.tolist() if v.dtype.kind in "OU" else np.ascontiguousarray(v) for k, v in columns.items()}
        table = pa.table({name: pa.array(values) for name, values in found.items()})
        sink = pa.BufferOutputStream()
        if media == PARQUET:
            import pyarrow.parquet as pq

            pq.write_table(table, sink)
        else:
            new = pa.ipc.new_stream if media == STREAM else pa.ipc.new_file
            with new(sink, table.schema) as writer:
                writer.write_table(table)
        return sink.getvalue().to_pybytes(), media

    return render
