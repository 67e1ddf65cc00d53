"""POST /score: the forms of Azure ML's online endpoints, answered by a plain list."""

from collections.abc import Sequence

from trialtree.serving.columns import Schema
from trialtree.serving.faults import Refused, cut, shown
from trialtree.serving.protocols import base, mlflow
from trialtree.serving.protocols.base import JSON, Answer, Figures, Question, Request

NAME = "azure"
INVALID = mlflow.INVALID
FORMS = ("data", "input_data")

error = mlflow.error


def question(schema: Schema, request: Request) -> Question:
    """Return what a request asks.

    Raises:
        Refused: it is not clear, or not what the model takes.
    """
    if request.media != JSON:
        raise Refused(415, f"the content type must be {JSON}; got {cut(request.media)!r}")
    said = base.parsed(request.body)
    if not isinstance(said, dict):
        raise Refused(422, f"the body must be an object with data or input_data, got {shown(said)}")
    forms = [name for name in FORMS if name in said]
    if len(forms) != 1 or said.keys() - {*FORMS, "params"}:
        raise Refused(422, "the body must have data or input_data, and may have params")
    form, value = forms[0], said[forms[0]]
    if isinstance(value, dict) and "data" in value and form == "input_data":
        taken = base.of_split(schema, value, form, request.most)
    elif isinstance(value, dict):
        taken = base.of_columns(schema, value, request.most)
    else:
        taken = base.of_rows(schema, value, form, request.most)
    return Question(base.checked(taken), base.params(said.get("params"), request), _as_list)


def _as_list(figures: Figures, names: Sequence[str] | None) -> Answer:
    return base.dumped(base.plain(figures) if names is None else base.named(figures, names)), JSON
