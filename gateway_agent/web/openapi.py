"""Describes ``/api/v1`` as OpenAPI 3.1, made of the types that it answers with."""

import re
from collections import Counter
from collections.abc import Sequence

import msgspec

from .api import ROOT, ApiEndpoint
from .shapes import ApiProblem

_REF = "#/components/schemas/{name}"


def openapi(endpoints: Sequence[ApiEndpoint], version: str) -> dict[str, object]:
    """Return the document."""
    types = [item.answer for item in endpoints] + [ApiProblem]
    schemas, components = msgspec.json.schema_components(
        types, ref_template=_REF, schema_hook=_schema
    )
    found = {item.path: schema for item, schema in zip(endpoints, schemas, strict=False)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "tianfu-gateway",
            "version": version,
            "description": "What a running gateway shows of itself. Times are milliseconds.",
        },
        "paths": {ROOT + item.path: _path(item, found[item.path]) for item in endpoints},
        "components": {"schemas": components},
    }


def _path(item: ApiEndpoint, schema: object) -> dict[str, object]:
    answers = {"200": _answer(item.what, schema)}
    names = re.findall(r"{(\w+)}", item.path)
    if names:
        problem = {"$ref": _REF.format(name="ApiProblem")}
        answers["404"] = _answer("There is no such device", problem)
    parameters: list[object] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in names
    ]
    if item.path.endswith("/history"):
        parameters.append(
            {"name": "from_ms", "in": "query", "schema": {"type": "integer", "minimum": 0}}
        )
    operation = item.path.strip("/").replace("/", "_").replace("{", "").replace("}", "")
    return {
        "get": {
            "summary": item.what,
            "operationId": operation,
            "parameters": parameters,
            "responses": answers,
        }
    }


def _answer(text: str, schema: object) -> dict[str, object]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _schema(kind: type) -> dict[str, object]:
    if kind is object:
        return {"description": "any JSON"}
    if kind is Counter:
        return {"type": "object", "additionalProperties": {"type": "integer"}}
    raise NotImplementedError(f"no schema for {kind}")
