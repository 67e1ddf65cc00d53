"""What an endpoint says of its model: the columns that it takes, and what it predicts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from trialtree.calling.asked import CallError
from trialtree.calling.connection import Connection, Reply

Type = Literal["integer", "number", "date", "text"]
_LABELS: Mapping[str, type] = {"BYTES": str, "INT64": int, "BOOL": bool, "FP64": float}


@dataclass(frozen=True)
class Column:
    """A column that the model takes."""

    name: str
    type: Type
    gaps: bool


@dataclass(frozen=True)
class Described:
    """What the model takes and gives."""

    model: str
    target: str
    columns: tuple[Column, ...]
    kind: type  # of what it predicts
    classification: bool

    @property
    def names(self) -> list[str]:
        """The names of its columns, in its order."""
        return [column.name for column in self.columns]


def ask(connection: Connection) -> Described:
    """Return what an endpoint says of its model.

    Raises:
        CallError: it says nothing of the kind: another server, or none.
    """
    said = _json(connection, connection.get("/openapi.json"))
    try:
        model, _, target = said["info"]["title"].partition(": ")
        row = said["components"]["schemas"]["Row"]
        required = set(row["required"])
        columns = tuple(Column(name, _type(each), name not in required) for name, each in row["properties"].items())
        told = _json(connection, connection.get(f"/v2/models/{quote(model, safe='')}"))
        outputs = {each["name"]: each for each in told["outputs"]}
        kind = _LABELS[outputs["predict"]["datatype"]]
        return Described(model, target, columns, kind, kind is not float or "predict_proba" in outputs)
    except (KeyError, TypeError, AttributeError):
        raise CallError(f"{connection.base}: is a server, and no endpoint of trialtree: {_OTHER}") from None


_OTHER = "its /openapi.json does not say which columns a model takes"


def _json(connection: Connection, reply: Reply) -> Any:
    if reply.status != 200 or not isinstance(reply.said, dict):
        what = f"answers {reply.status} with {reply.reason}" if reply.status != 200 else f"has {reply.reason}"
        raise CallError(f"{connection.base}: is no endpoint of trialtree: its /openapi.json {what}")
    return reply.said


def _type(schema: Mapping[str, Any]) -> Type:
    inner = schema.get("anyOf", [schema])[0]
    if inner["type"] in ("integer", "number"):
        found: Type = inner["type"]
        return found
    return "date" if inner.get("format") == "date" else "text"
