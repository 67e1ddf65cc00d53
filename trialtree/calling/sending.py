"""The rows of a table, sent batch by batch, and the answers to them."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from stages.tables import ROW
from trialtree.calling import tables, values
from trialtree.calling.asked import Asked, CallError
from trialtree.calling.connection import Connection, Reply
from trialtree.calling.described import Described
from trialtree.predicting import reading
from trialtree.predicting.layout import PREDICTED
from trialtree.predicting.pieces import Source
from trialtree.serving.faults import Fault

if TYPE_CHECKING:
    import pyarrow as pa

_MEGABYTE = 1e6
_TOO_MUCH = (408, 413, 504)  # a smaller batch may do


@dataclass
class Answered:
    """What was predicted of a table."""

    described: Described
    shown: str  # the table
    kept: "pa.Table"  # (rows,) row numbers, and the columns beside the model's
    predicted: np.ndarray[Any, Any]  # (rows,)
    probabilities: np.ndarray[Any, Any] | None  # (rows, labels)
    labels: list[Any]  # of the probabilities
    lacking: list[str]  # columns of the model that the table has not, and that may have gaps
    versions: Counter[str]  # rows by the version that answered
    seconds: float


@dataclass
class _Gathered:
    kept: list[Any] = field(default_factory=list)
    predicted: list[Any] = field(default_factory=list)
    versions: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Sent:
    body: bytes
    numbers: np.ndarray[Any, Any]  # (rows,) of its rows in the whole table


def send(asked: Asked, connection: Connection, described: Described, source: Source) -> Answered:
    """Return what an endpoint predicts of all rows of a table.

    Raises:
        UserError: the table lacks a column, has no rows, or the endpoint refuses some.
    """
    names = reading.names(source)
    lacking = _lacking(source.shown, names, described)
    taken = [name for name in described.names if name not in lacking]
    kept = _kept(asked, names, described)
    found = _Gathered()
    began = time.perf_counter()
    for table, numbers in tables.rows(source, list(dict.fromkeys([*kept, *taken])), asked.batch):
        sent = _Sent(_body(described, table, asked.probabilities, texts=source.texts), numbers)
        reply = connection.post("/invocations", sent.body)
        found.predicted += _predictions(connection, source.shown, reply, sent)
        found.versions[reply.headers.get("x-model-version", "?")] += len(numbers)
        found.kept.append(_numbered(table.select(kept), numbers))
    seconds = time.perf_counter() - began
    if not found.predicted:
        raise CallError(f"{source.shown}: has no row")
    import pyarrow as pa

    predicted, probabilities, labels = _split(described, found.predicted, asked.probabilities)
    whole = pa.concat_tables(found.kept)
    return Answered(described, source.shown, whole, predicted, probabilities, labels, lacking, found.versions, seconds)


def _lacking(shown: str, names: Sequence[str], described: Described) -> list[str]:
    """Return the columns that a table lacks, all of which may have gaps."""
    lacking = [column for column in described.columns if column.name not in names]
    if needed := [column.name for column in lacking if not column.gaps]:
        more = f" (and {len(needed) - 1} more)" if len(needed) > 1 else ""
        raise CallError(
            f"{shown}: has no column {needed[0]!r}{more}, which {described.model} takes; it has: {', '.join(names)}"
        )
    return [column.name for column in lacking]


def _kept(asked: Asked, names: Sequence[str], described: Described) -> list[str]:
    """Return the columns that are kept beside the predictions: all that the model does not take if they are written."""
    if asked.compare is not None and asked.compare not in names:
        raise CallError(f"--compare: {asked.table} has no column {asked.compare!r}; it has: {', '.join(names)}")
    others = [name for name in names if name not in described.names]
    wanted = {ROW, described.target}
    kept = [name for name in others if asked.out or name in wanted]
    kept += [asked.compare] if asked.compare is not None and asked.compare not in kept else []
    if PREDICTED in kept:
        raise CallError(f"{asked.table}: has a column {PREDICTED!r}, and so has what is printed; rename it")
    return kept


def _numbered(kept: "pa.Table", numbers: np.ndarray[Any, Any]) -> "pa.Table":
    """Return columns with the rows' numbers as the first."""
    import pyarrow as pa

    if ROW in kept.column_names:
        return kept.select([ROW, *(name for name in kept.column_names if name != ROW)])
    return kept.add_column(0, ROW, pa.array(numbers))


def _body(described: Described, table: "pa.Table", probabilities: bool, *, texts: bool) -> bytes:
    columns = [
        values.of_column(column, table.column(column.name), texts=texts)
        if column.name in table.column_names
        else [None] * table.num_rows
        for column in described.columns
    ]
    said: dict[str, Any] = {"dataframe_split": {"columns": described.names, "data": list(zip(*columns, strict=True))}}
    if probabilities:
        said["params"] = {"probabilities": True}
    return orjson.dumps(said)


def _predictions(connection: Connection, shown: str, reply: Reply, sent: _Sent) -> list[Any]:
    """Return the predictions of an answer, one for each row that was sent."""
    said, rows = reply.said, len(sent.numbers)
    if reply.status == 200:
        found = said.get("predictions") if isinstance(said, dict) else None
        if not isinstance(found, list):
            raise CallError(f"{connection.base}: answers with {reply.reason}, and no predictions")
        if len(found) != rows:
            raise CallError(f"{connection.base}: answers {len(found)} predictions for {rows} rows")
        return found
    if reply.status == 422:
        raise CallError(f"{shown}: {_refusal(reply, sent.numbers)}")
    if reply.status in _TOO_MUCH:
        size = f"{rows:,} rows, {len(sent.body) / _MEGABYTE:.1f} MB"
        raise CallError(f"{connection.base}: {reply.reason} ({reply.status} for {size}); see --batch")
    raise CallError(f"{connection.base}: answers {reply.status}: {reply.reason}")


def _refusal(reply: Reply, numbers: np.ndarray[Any, Any]) -> str:
    """Return what a 422 says, with the row's number in the whole table."""
    said = reply.said
    try:
        first = said["details"][0]
        row = None if first["row"] is None else int(numbers[first["row"]])
        more = said["message"].rpartition(" (and ")
        rest = f" (and {more[2]}" if more[0] and more[2].endswith(" more)") else ""
        return f"{Fault(row, first['column'], first['reason'])}{rest}"
    except (KeyError, IndexError, TypeError, AttributeError):
        return reply.reason


def _split(
    described: Described, found: list[Any], probable: bool
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any] | None, list[Any]]:
    """Return labels or numbers (rows,); with probabilities also these (rows, labels), and the labels."""
    if not probable:
        return np.array(found, dtype=np.float64 if described.kind is float else None), None, []
    labels = [_label(described.kind, name.removeprefix("p_")) for name in found[0]]
    probabilities = np.array([list(each.values()) for each in found], dtype=np.float64)
    return np.array(labels)[probabilities.argmax(axis=1)], probabilities, labels


def _label(kind: type, name: str) -> Any:
    return name == "True" if kind is bool else kind(name)
