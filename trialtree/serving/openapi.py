"""The OpenAPI description of an endpoint, made of the columns that its model takes."""

from typing import Any
from urllib.parse import quote

from trialtree.serving.columns import Field, Schema
from trialtree.serving.protocols import v2
from trialtree.serving.protocols.base import CSV, FILE, JSON, PARQUET, STREAM
from trialtree.serving.serving import Serving

_LARGEST = 2**53
_MOST = 1.7976931348623157e308


def document(serving: Serving, version: str, *, keyed: bool) -> dict[str, Any]:
    """Return the description; `version` is trialtree's, `keyed` says whether callers need a key."""
    served = serving.first
    schema, scorer = served.scorer.schema, served.scorer
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": f"{serving.plan.name}: {scorer.target}",
            "version": served.planned.version,
            "description": f"Predicts {scorer.target} by {scorer.estimator}. Served by trialtree {version}.",
        },
        "paths": _paths(serving),
        "components": {"schemas": _schemas(schema, scorer.labels, scorer.has_probabilities), "responses": _RESPONSES},
    }
    if keyed:
        found["components"]["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
        found["security"] = [{"bearer": []}, {"key": []}]
    return found


def field(each: Field, unknown: bool) -> dict[str, Any]:
    """Return the JSON schema of a value of a column."""
    found: dict[str, Any]
    if each.type == "integer":
        found = {"type": "integer", "minimum": -_LARGEST, "maximum": _LARGEST}
    elif each.type == "number":
        found = {"type": "number", "minimum": -_MOST, "maximum": _MOST}
    elif each.type == "date":
        found = {"type": "string", "format": "date", "examples": ["2026-11-29"]}
    elif each.type == "category" and not unknown:
        found = {"type": "string", "enum": list(each.categories)}
    else:
        # Nothing is a gap, unless it is a category of its own.
        found = {"type": "string", "minLength": int("" not in each.codes), "examples": list(each.categories[:3])}
    if not each.gaps:
        return found
    return {"anyOf": [found, {"type": "null"}]}


def example(each: Field) -> Any:
    """Return a value that a column may have."""
    if each.numeric:
        return 1 if each.type == "integer" else 1.5
    return "2026-11-29" if each.type == "date" else (each.categories[0] if each.categories else "text")


def _schemas(schema: Schema, labels: list[Any], asked: bool) -> dict[str, Any]:
    fields = {each.name: field(each, schema.unknown) for each in schema.fields}
    row = {
        "type": "object", "properties": fields, "required": [f.name for f in schema.fields if not f.gaps],
        "additionalProperties": False,
    }  # fmt: skip
    values = {
        "type": "array", "prefixItems": list(fields.values()), "items": False, "minItems": len(fields),
        "maxItems": len(fields),
    }  # fmt: skip
    split = {
        "type": "object", "required": ["data"], "additionalProperties": False,
        "properties": {
            "columns": {"type": "array", "const": list(schema.names)},
            "data": {"type": "array", "items": _ref("Values"), "minItems": 1},
        },
    }  # fmt: skip
    one = {"type": "string", "enum": labels} if labels and isinstance(labels[0], str) else {"type": "number"}
    probable = {"type": "object", "additionalProperties": {"type": "number", "minimum": 0, "maximum": 1}}
    return {
        "Row": row,
        "Values": values,
        "Split": split,
        "Rows": {"type": "array", "items": _ref("Row"), "minItems": 1},
        "Params": {
            "type": "object", "additionalProperties": False,
            "properties": {"probabilities": {"type": "boolean"} if asked else {"const": False}},
        },
        "Predictions": {"type": "array", "items": {"anyOf": [one, probable]}},
        "Tensor": _TENSOR,
        "Error": {
            "type": "object", "required": ["error_code", "message"],
            "properties": {
                "error_code": {"type": "string"}, "message": {"type": "string"}, "details": {"type": "array"},
            },
        },
        "V2Error": {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}},
    }  # fmt: skip


_TENSOR = {
    "type": "object", "required": ["name", "shape", "datatype", "data"],
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1, "maxItems": 2},
        "datatype": {"type": "string", "enum": ["FP64", "INT64", "BYTES", "BOOL"]}, "data": {"type": "array"},
    },
}  # fmt: skip
_WHY = {
    "400": "No JSON, CSV or table, or damaged", "401": "A key is needed", "408": "The body did not arrive in time",
    "413": "The body is too large, or has too many rows", "415": "The type of the body is not taken",
    "422": "The rows are not what the model takes; row and column are named",
    "429": "Too many requests at once", "500": "The model could not answer", "503": "The endpoint is stopping",
    "504": "The answer was not there in time",
}  # fmt: skip


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


_RESPONSES = {
    f"{kind}{status}": {"description": why, "content": {JSON: {"schema": _ref("Error" if kind == "E" else "V2Error")}}}
    for kind in ("E", "V")
    for status, why in _WHY.items()
}


def _errors(kind: str = "E") -> dict[str, Any]:
    return {status: {"$ref": f"#/components/responses/{kind}{status}"} for status in _WHY}


def _paths(serving: Serving) -> dict[str, Any]:
    schema, name = serving.first.scorer.schema, quote(serving.plan.name, safe="")
    query = [_QUERY] if serving.first.scorer.has_probabilities else []
    table = {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}}
    forms = {
        "dataframe_split": _ref("Split"), "dataframe_records": _ref("Rows"),
        "instances": {"anyOf": [_ref("Rows"), {"type": "array", "items": _ref("Values"), "minItems": 1}]},
        "inputs": {"anyOf": [_ref("Rows"), {"type": "array", "items": _ref("Values"), "minItems": 1}]},
    }  # fmt: skip
    row = {each.name: example(each) for each in schema.fields}
    split = {"columns": list(schema.names), "data": [list(row.values())]}
    invocations = {
        "summary": "Predict: MLflow's and SageMaker's protocol",
        "operationId": "invocations",
        "parameters": query,
        "requestBody": {
            "required": True,
            "content": {
                JSON: {"schema": {"oneOf": _forms(forms)}, "example": {"dataframe_split": split}},
                CSV: {"schema": {"type": "string", "minLength": 1}, "example": f"{','.join(map(str, row.values()))}\n"},
                STREAM: table, FILE: table, PARQUET: table,
            },
        },
        "responses": {
            "200": {
                "description": "A prediction for each row, in their order",
                "content": {JSON: {"schema": {"type": "object", "required": ["predictions"],
                                              "properties": {"predictions": _ref("Predictions")}}},
                            CSV: {"schema": {"type": "string"}}, STREAM: table, FILE: table, PARQUET: table},
            },
            **_errors(),
        },
    }  # fmt: skip
    azure = {
        "data": {"anyOf": [_ref("Rows"), {"type": "array", "items": _ref("Values"), "minItems": 1}]},
        "input_data": {"anyOf": [_ref("Split"), {"type": "array", "items": _ref("Values"), "minItems": 1}]},
    }
    score = {
        "summary": "Predict: Azure ML's protocol",
        "operationId": "score",
        "parameters": query,
        "requestBody": {
            "required": True,
            "content": {JSON: {"schema": {"oneOf": _forms(azure)}, "example": {"data": [list(row.values())]}}},
        },
        "responses": {
            "200": {"description": "A prediction for each row", "content": {JSON: {"schema": _ref("Predictions")}}},
            **_errors(),
        },
    }
    return {
        "/invocations": {"post": invocations},
        "/score": {"post": score},
        f"/v2/models/{name}/infer": {"post": _infer(schema, query)},
        f"/v2/models/{name}": {"get": _get("The columns that the model takes", "V")},
        **{path: {"get": _get(what)} for path, what in _READ.items()},
    }


def _forms(forms: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the schemas of bodies that have one form each, and may have params."""
    return [
        {
            "type": "object", "title": name, "required": [name], "additionalProperties": False,
            "properties": {name: form, "params": _ref("Params")},
        }
        for name, form in forms.items()
    ]  # fmt: skip


_QUERY = {
    "name": "probabilities", "in": "query", "required": False, "schema": {"type": "boolean"},
    "description": "Answer with a probability for each label",
}  # fmt: skip
_READ = {
    "/ping": "Whether it takes requests", "/health": "Whether it takes requests", "/ready": "Whether it takes requests",
    "/live": "Whether the process answers", "/version": "The versions that are served",
}  # fmt: skip


def _get(what: str, kind: str = "E") -> dict[str, Any]:
    errors = _errors(kind)
    return {
        "summary": what,
        "responses": {"200": {"description": what}, **{status: errors[status] for status in ("401", "503")}},
    }


def _infer(schema: Schema, query: list[dict[str, Any]]) -> dict[str, Any]:
    inputs = [
        {"name": f.name, "shape": [1], "datatype": v2.DATATYPES[f.type], "data": [example(f)]} for f in schema.fields
    ]
    body = {
        "type": "object", "required": ["inputs"], "additionalProperties": False,
        "properties": {
            "id": {"type": "string", "maxLength": 200},
            "inputs": {"type": "array", "items": _ref("Tensor"), "minItems": 1},
        },
    }  # fmt: skip
    answer = {
        "type": "object", "required": ["model_name", "outputs"],
        "properties": {"model_name": {"type": "string"}, "outputs": {"type": "array", "items": _ref("Tensor")}},
    }  # fmt: skip
    return {
        "summary": "Predict: the Open Inference Protocol",
        "operationId": "infer",
        "parameters": query,
        "requestBody": {"required": True, "content": {JSON: {"schema": body, "example": {"inputs": inputs}}}},
        "responses": {
            "200": {"description": "Tensors", "content": {JSON: {"schema": answer}}},
            "404": {"$ref": "#/components/responses/V400"},
            **_errors("V"),
        },
    }
