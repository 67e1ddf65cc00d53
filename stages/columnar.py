"""Rows of Python values, batch by batch, as one Parquet file whose column types hold for all of them."""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from stages.tables import DataError

if TYPE_CHECKING:
    import pyarrow as pa

_EXACT = 2**53  # whole numbers beyond are not all floats


class Pieces:
    """A table that is written as its rows come.

    Each batch is a file of the types that its own values have; the last step
    casts them all to types that hold every batch.
    """

    def __init__(self, shown: str, names: Sequence[str], path: Path) -> None:
        """Begin a table of columns `names` at `path`; raises DataError where a name is empty or repeated."""
        repeated = next((n for n in names if [m.casefold() for m in names].count(n.casefold()) > 1), None)
        if repeated is not None:
            raise DataError(f"{shown}: the query gives two columns {repeated!r}; name them by AS")
        if "" in names or "?column?" in names:
            raise DataError(f"{shown}: the query gives a column without a name; name it by AS")
        self.shown, self.names, self.path = shown, list(names), path
        self.kinds = ["null"] * len(names)
        self.rows = 0
        self.files: list[Path] = []
        for left in path.parent.glob("piece-*.parquet"):  # by a query that was stopped
            left.unlink()

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        """Write a batch."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = []
        for place, (name, values) in enumerate(zip(self.names, zip(*rows, strict=True), strict=True)):
            kind = self._found(name, values)
            columns.append(self._array(name, values, kind))
            self.kinds[place] = self._united(name, {self.kinds[place], kind})
        piece = self.path.with_name(f"piece-{len(self.files)}.parquet")
        pq.write_table(pa.table(columns, self.names), piece)
        self.files.append(piece)
        self.rows += len(rows)

    def finish(self) -> None:
        """Make the batches one file."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not self.rows:
            raise DataError(f"{self.shown}: the query gives no row")
        schema = pa.schema([(n, _arrow(k)) for n, k in zip(self.names, self.kinds, strict=True)])
        with pq.ParquetWriter(self.path, schema, compression="zstd") as writer:
            for piece in self.files:
                with pq.ParquetFile(piece) as file:
                    writer.write_table(file.read().cast(schema), row_group_size=self.rows)
                piece.unlink()

    def _found(self, name: str, values: Sequence[Any]) -> str:
        """Return the kind of a batch's column."""
        classes = {cls: _kind(cls) for cls in set(map(type, values)) - {type(None)}}
        if odd := next((cls for cls, kind in classes.items() if kind is None), None):
            raise DataError(
                f"{self.shown}: the column {name!r} holds {odd.__name__}, which no table has here; CAST it in the query"
            )
        return self._united(name, {str(kind) for kind in classes.values()})

    def _united(self, name: str, kinds: set[str]) -> str:
        """Return the kind that holds values of all these kinds."""
        found = kinds - {"null"}
        if found == {"int64", "double"}:
            return "double"
        if len(found) > 1:
            raise DataError(
                f"{self.shown}: the column {name!r} is {' in some rows and '.join(sorted(found))} in others; "
                "CAST it in the query"
            )
        return found.pop() if found else "null"

    def _array(self, name: str, values: Sequence[Any], kind: str) -> "pa.Array":
        """Return a batch's column as Arrow has it."""
        import pyarrow as pa

        classes = set(map(type, values))
        limit = 2**63 - 1 if kind == "int64" else _EXACT
        if kind == "int64" or (kind == "double" and classes - {float, type(None)}):
            whole = (v for v in values if isinstance(v, int) or (isinstance(v, Decimal) and v.is_finite()))
            if (odd := next((v for v in whole if not -limit <= v <= limit and v == int(v)), None)) is not None:
                raise DataError(
                    f"{self.shown}: the column {name!r} has {odd}, which 64 bits do not hold exactly; "
                    "CAST it in the query"
                )
        casts: dict[str, tuple[type, Callable[[Any], Any]]] = {
            "string": (str, str), "double": (float, float), "timestamp": (datetime, _moment),
        }  # fmt: skip
        own, cast = casts.get(kind, (object, None))
        if cast is not None and (kind == "timestamp" or classes - {own, type(None)}):
            values = [None if value is None else cast(value) for value in values]
        return pa.array(values, _arrow(kind))


def _kind(cls: type) -> str | None:
    """Return the kind of a value of this class."""
    kinds: dict[type, str] = {
        bool: "bool", int: "int64", float: "double", Decimal: "double", str: "string", datetime: "timestamp",
        date: "timestamp", UUID: "string", time: "string",
    }  # fmt: skip
    return next((kinds[each] for each in cls.__mro__ if each in kinds), None)


def _moment(value: date) -> datetime:
    """Return a date, or a time of any zone, as a time of UTC without a zone."""
    if not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day)
    return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value


def _arrow(kind: str) -> "pa.DataType":
    import pyarrow as pa

    return pa.timestamp("us") if kind == "timestamp" else pa.type_for_alias(kind)
