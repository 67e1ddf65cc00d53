"""POST /invocations: MLflow's forms of JSON and CSV, SageMaker's CSV without header, Arrow and Parquet."""

from collections.abc import Callable, Sequence
from typing import Any

from trialtree.serving import rows
from trialtree.serving.cells import Taken
from trialtree.serving.columns import Schema
from trialtree.serving.faults import Fault, Refused, cut, shown
from trialtree.serving.protocols import base
from trialtree.serving.protocols.base import CSV, JSON, TABLES, Answer, Figures, Question, Request

NAME = "mlflow"
INVALID = 422  # the status of what the model does not take
FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")


def question(schema: Schema, request: Request) -> Question:
    """Return what a request asks.

    Raises:
        Refused: it is not clear, or not what the model takes.
    """
    if request.media == JSON:
        return _of_json(schema, request)
    if request.media == CSV:
        taken, header = base.of_csv(schema, request)
        # A client of SageMaker's, which sends no header, expects CSV; one of MLflow's JSON.
        wanted = CSV in request.accept or (not header and JSON not in request.accept)
        return Question(base.checked(taken), bool(request.probabilities), base.as_csv if wanted else as_json)
    if request.media in TABLES:
        taken = base.checked(base.of_table(schema, request))
        render = as_json if JSON in request.accept else base.as_table(TABLES[request.media])
        return Question(taken, bool(request.probabilities), render)
    raise unsupported(request.media)


def unsupported(media: str) -> Refused:
    """Return the refusal of a type of body."""
    known = ", ".join([JSON, CSV, *dict.fromkeys(TABLES.values())])
    got = f"got {cut(media)!r}" if media else "there is none"
    return Refused(415, f"the content type must be one of {known}; {got}")


def _of_json(schema: Schema, request: Request) -> Question:
    said = base.parsed(request.body)
    if not isinstance(said, dict):
        raise Refused(422, f"the body must be an object with one of {', '.join(FORMS)}, got {shown(said)}")
    forms = [name for name in FORMS if name in said]
    if len(forms) != 1 or said.keys() - {*FORMS, "params"}:
        strange = said.keys() - {*FORMS, "params"}
        got = f"; got {cut(min(strange))!r}" if strange else f"; got {len(forms)} of them"
        raise Refused(422, f"the body must have one of {', '.join(FORMS)}, and may have params{got}")
    form = forms[0]
    taken = base.checked(_READERS[form](schema, said[form], form, request.most))
    accept = base.as_csv if CSV in request.accept and JSON not in request.accept else as_json
    return Question(taken, base.params(said.get("params"), request), accept)


def _inputs(schema: Schema, value: Any, form: str, most: int) -> Taken:
    """Return rows of `inputs` or `instances`: columns by name, or rows."""
    if isinstance(value, dict):
        return base.of_columns(schema, value, most)
    return base.of_rows(schema, value, form, most)


def _records(schema: Schema, value: Any, form: str, most: int) -> Taken:
    found = base.listed(value, form, most)
    return rows.from_records(schema, found, base.FAULTS)


_READERS: dict[str, Callable[[Schema, Any, str, int], Taken]] = {
    "dataframe_split": base.of_split, "dataframe_records": _records, "instances": _inputs, "inputs": _inputs,
}  # fmt: skip


def as_json(figures: Figures, names: Sequence[str] | None) -> Answer:
    """Return MLflow's answer."""
    found = base.plain(figures) if names is None else base.named(figures, names)
    return base.dumped({"predictions": found}), JSON


def error(status: int, reason: str, faults: Sequence[Fault]) -> bytes:
    """Return MLflow's form of an error, with the faults as a list beside it."""
    said: dict[str, Any] = {"error_code": CODES.get(status, "BAD_REQUEST"), "message": reason}
    if faults:
        said["details"] = [{"row": f.row, "column": f.column, "reason": f.reason} for f in faults]
    return base.dumped(said)


CODES = {
    400: "MALFORMED_REQUEST", 401: "UNAUTHENTICATED", 404: "ENDPOINT_NOT_FOUND", 405: "METHOD_NOT_ALLOWED",
    408: "REQUEST_TIMEOUT", 413: "REQUEST_LIMIT_EXCEEDED", 415: "UNSUPPORTED_MEDIA_TYPE",
    422: "INVALID_PARAMETER_VALUE", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}  # fmt: skip
