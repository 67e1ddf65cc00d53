"""The Open Inference Protocol, version 2, over HTTP and JSON: POST /v2/models/{name}/infer and what describes it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from trialtree.serving import cells, rows
from trialtree.serving.cells import Taken
from trialtree.serving.columns import Field, Schema
from trialtree.serving.faults import Fault, Refused, cut, shown
from trialtree.serving.protocols import base
from trialtree.serving.protocols.base import JSON, Answer, Figures, Question, Request

NAME = "v2"
INVALID = 400  # the status that the protocol has for what the model does not take
PREDICT, PROBABILITIES = "predict", "predict_proba"  # outputs, as other servers of scikit-learn's models name them
DATATYPES = {"integer": "INT64", "number": "FP64", "date": "BYTES", "category": "BYTES", "text": "BYTES"}
_NUMBERS = ("FP64", "FP32", "FP16", "INT64", "INT32", "INT16", "INT8", "UINT64", "UINT32", "UINT16", "UINT8")


def error(_: int, reason: str, faults: Sequence[Fault]) -> bytes:
    """Return the protocol's form of an error."""
    return base.dumped({"error": reason if not faults else "; ".join(map(str, faults))})


def question(schema: Schema, request: Request) -> Question:
    """Return what a request asks.

    Raises:
        Refused: it is not clear, or not what the model takes.
    """
    if request.media != JSON:
        raise Refused(415, f"the content type must be {JSON}; got {cut(request.media)!r}")
    said = base.parsed(request.body)
    if not isinstance(said, dict) or not isinstance(said.get("inputs"), list) or not said["inputs"]:
        raise Refused(422, "the body must be an object with inputs, a list of tensors")
    if strange := said.keys() - {"id", "inputs", "outputs", "parameters"}:
        raise Refused(
            422, f"there is no {cut(min(strange))!r} in a request; there are: id, inputs, outputs, parameters"
        )
    number = said.get("id")
    if number is not None and (not isinstance(number, str) or len(number) > 200):
        raise Refused(422, "id: must be a text of at most 200 characters")
    tensors = [_checked(tensor, place) for place, tensor in enumerate(said["inputs"])]
    taken = base.checked(_taken(schema, tensors, request.most))
    probabilities = _wanted(said.get("outputs"))
    given = said.get("parameters")
    if given is not None and not isinstance(given, dict):
        raise Refused(422, f"parameters: must be an object, got {shown(given)}")
    if probabilities is None:
        asked = None if given is None else {k: v for k, v in given.items() if k == "probabilities"}
        probabilities = base.params(asked, request)
    return Question(taken, probabilities, _Answers(number, request.model))


def _wanted(outputs: Any) -> bool | None:
    """Return whether probabilities are asked for by name; None where no output is named."""
    if outputs is None:
        return None
    names = (
        [each.get("name") if isinstance(each, dict) else None for each in outputs] if isinstance(outputs, list) else []
    )
    if len(names) != 1 or names[0] not in (PREDICT, PROBABILITIES):
        raise Refused(422, f"outputs: must name one of {PREDICT}, {PROBABILITIES}")
    return bool(names[0] == PROBABILITIES)


def _checked(tensor: Any, place: int) -> Mapping[str, Any]:
    """Return a tensor whose shape, type and data are there and agree; its data flat."""
    where = f"inputs[{place}]"
    if not isinstance(tensor, dict):
        raise Refused(422, f"{where}: must be an object, got {shown(tensor)}")
    name, shape, kind, data = (tensor.get(key) for key in ("name", "shape", "datatype", "data"))
    if not isinstance(name, str):
        raise Refused(422, f"{where}.name: must be a text, got {shown(name)}")
    if not isinstance(shape, list) or not 1 <= len(shape) <= 2 or any(type(n) is not int or n < 0 for n in shape):
        raise Refused(422, f"{where}.shape: must be a list of one or two whole numbers")
    if kind not in (*_NUMBERS, "BYTES", "BOOL"):
        raise Refused(422, f"{where}.datatype: must be one of {', '.join(_NUMBERS)}, BYTES, BOOL")
    if not isinstance(data, list):
        raise Refused(422, f"{where}.data: must be a list, got {shown(data)}")
    if data and isinstance(data[0], list):
        if not all(isinstance(each, list) for each in data):
            raise Refused(422, f"{where}.data: must be flat, or a list of rows")
        data = list(chain.from_iterable(data))
    if len(data) != math.prod(shape):
        raise Refused(422, f"{where}: the shape {shape} has {math.prod(shape)} values, and data {len(data)}")
    return {"name": name, "shape": shape, "datatype": kind, "data": data}


def _taken(schema: Schema, tensors: Sequence[Mapping[str, Any]], most: int) -> Taken:
    """Return the rows of a tensor for each column, or of one for all."""
    count, width = tensors[0]["shape"][0], len(schema.names)
    base.few(count, most)
    only = tensors[0]
    if (
        len(tensors) == 1
        and len(only["shape"]) == 2
        and only["shape"][1] == width
        and only["name"] not in schema.places
    ):
        data = only["data"]
        return rows.from_lists(schema, [data[i : i + width] for i in range(0, len(data), width)], base.FAULTS)
    for place, tensor in enumerate(tensors):
        if len(tensor["shape"]) == 2 and tensor["shape"][1] != 1:
            raise Refused(422, f"inputs[{place}].shape: must be [{count}] or [{count}, 1], got {tensor['shape']}")
        if tensor["shape"][0] != count:
            raise Refused(422, f"inputs[{place}].shape: has {tensor['shape'][0]} rows, and inputs[0] {count}")
    if (twice := cells.repeated([tensor["name"] for tensor in tensors])) is not None:
        raise Refused(422, f"inputs: {cut(twice)!r} is there twice")
    return rows.from_columns(schema, {tensor["name"]: tensor["data"] for tensor in tensors}, base.FAULTS)


@dataclass(frozen=True)
class _Answers:
    """Writes figures as tensors, under the id of the request."""

    number: str | None
    model: tuple[str, str]

    def __call__(self, figures: Figures, names: Sequence[str] | None) -> Answer:
        """Return the answer."""
        output = tensor(PREDICT if names is None else PROBABILITIES, figures)
        said: dict[str, Any] = {"model_name": self.model[0], "model_version": self.model[1], "outputs": [output]}
        if self.number is not None:
            said["id"] = self.number
        if names is not None:
            output["parameters"] = {"labels": list(names)}
        return base.dumped(said), JSON


def tensor(name: str, figures: Figures) -> dict[str, Any]:
    """Return figures as a tensor, row by row."""
    kind = {"f": "FP64", "i": "INT64", "b": "BOOL"}.get(figures.dtype.kind, "BYTES")
    data = np.ascontiguousarray(figures.ravel()) if kind == "FP64" else figures.ravel().tolist()
    return {"name": name, "datatype": kind, "shape": list(figures.shape), "data": data}


def described(
    schema: Schema, name: str, versions: Sequence[str], labels: Sequence[Any], probable: bool
) -> dict[str, Any]:
    """Return the metadata of a model."""
    kinds = {str: "BYTES", bool: "BOOL", int: "INT64", float: "FP64"}
    outputs: list[dict[str, Any]] = [
        {"name": PREDICT, "datatype": kinds[type(labels[0])] if labels else "FP64", "shape": [-1]}
    ]
    if probable:
        outputs.append({"name": PROBABILITIES, "datatype": "FP64", "shape": [-1, len(labels)]})
    return {
        "name": name, "versions": list(versions), "platform": "trialtree",
        "inputs": [_input(each) for each in schema.fields], "outputs": outputs,
    }  # fmt: skip


def _input(each: Field) -> dict[str, Any]:
    return {"name": each.name, "datatype": DATATYPES[each.type], "shape": [-1]}
