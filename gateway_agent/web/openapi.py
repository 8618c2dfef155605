"""Describes ``/api/v1`` as OpenAPI 3.1, made of the types that it answers with."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from .access import SESSION
from .api import ROOT, ApiEndpoint
from .orders import TOKEN_HEADER, OrderKind
from .shapes import ApiProblem, LogInRequest, SessionState

_REF = "#/components/schemas/{name}"


def openapi(
    endpoints: Sequence[ApiEndpoint], orders: Sequence[OrderKind[Any]], version: str
) -> dict[str, object]:
    """Return the document."""
    types: list[type] = [item.answer for item in endpoints]
    for kind in orders:
        types += kind.takes, kind.answer
    schemas, components = msgspec.json.schema_components(
        [*types, ApiProblem, LogInRequest, SessionState], ref_template=_REF, schema_hook=_schema
    )
    found = dict(zip(types, schemas, strict=False))
    paths = {ROOT + item.path: _path(item, found[item.answer]) for item in endpoints}
    paths |= {ROOT + kind.path: _order(kind, found) for kind in orders}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "tianfu-gateway",
            "version": version,
            "description": "What a running gateway shows of itself. Times are milliseconds.",
        },
        "paths": paths | {SESSION: _session()},
        "components": {
            "schemas": components,
            "securitySchemes": {
                "session": {"type": "apiKey", "in": "cookie", "name": "__Host-tianfu"},
                "password": {"type": "http", "scheme": "basic"},
            },
        },
        "security": [{"session": []}, {"password": []}],
    }


def _session() -> dict[str, object]:
    state = _answer("Who asks", _of(SessionState))
    problems = {
        code: _answer(text, _of(ApiProblem))
        for code, text in (
            ("400", "Another form was expected"),
            ("401", "Wrong name or password"),
            ("403", "Another site asks, or nobody can log in here"),
            ("413", "The body is too long"),
            ("415", "JSON was expected"),
            ("429", "Too many wrong passwords"),
        )
    }
    return {
        "get": _operation("session", "Who asks", {"200": state}, security=[]),
        "post": _operation(
            "log_in", "Log in", {"200": state, **problems}, _of(LogInRequest), security=[]
        ),
        "delete": _operation(
            "log_out", "Log out", {"200": state, "403": problems["403"]}, security=[]
        ),
    }


def _no_session() -> dict[str, object]:
    """Return the answers to somebody who has not logged in where that is needed."""
    return {
        "401": _answer("Log in first", _of(ApiProblem)),
        "429": _answer("Too many wrong passwords", _of(ApiProblem)),
    }


def _order(kind: OrderKind[Any], found: dict[type, Any]) -> dict[str, object]:
    answers: dict[str, object] = {"200": _answer("It is done", found[kind.answer])}
    for code, text in (
        ("400", "Another form was expected"),
        ("403", "Not an operator, or no order of our own page"),
        ("409", "It cannot be done, and why"),
        ("413", "The body is too long"),
        ("415", "JSON was expected"),
    ):
        answers[code] = _answer(text, _of(ApiProblem))
    answers |= _no_session()
    name = kind.path.strip("/").replace("/", "_")
    token = {"name": TOKEN_HEADER, "in": "header", "required": True, "schema": {"type": "string"}}
    return {
        "post": _operation(name, kind.what, answers, found[kind.takes], [token], [{"session": []}])
    }


def _operation(
    name: str,
    what: str,
    answers: dict[str, object],
    body: object = None,
    parameters: Sequence[object] = (),
    security: Sequence[object] | None = None,
) -> dict[str, object]:
    made: dict[str, object] = {
        "summary": what,
        "operationId": name,
        "parameters": list(parameters),
        "responses": answers,
    }
    if body is not None:
        content = {"application/json": {"schema": body}}
        made["requestBody"] = {"required": True, "content": content}
    if security is not None:
        made["security"] = list(security)
    return made


def _of(kind: type) -> dict[str, str]:
    return {"$ref": _REF.format(name=kind.__name__)}


def _path(item: ApiEndpoint, schema: object) -> dict[str, object]:
    answers: dict[str, object] = {"200": _answer(item.what, schema), **_no_session()}
    names = re.findall(r"{(\w+)}", item.path)
    if names:
        answers["404"] = _answer("There is no such device", _of(ApiProblem))
    parameters: list[object] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in names
    ]
    if item.path.endswith("/history"):
        parameters.append(
            {"name": "from_ms", "in": "query", "schema": {"type": "integer", "minimum": 0}}
        )
    operation = item.path.strip("/").replace("/", "_").replace("{", "").replace("}", "")
    return {"get": _operation(operation, item.what, answers, parameters=parameters)}


def _answer(text: str, schema: object) -> dict[str, object]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _schema(kind: type) -> dict[str, object]:
    if kind is object:
        return {"description": "any JSON"}
    if kind is Counter:
        return {"type": "object", "additionalProperties": {"type": "integer"}}
    raise NotImplementedError(f"no schema for {kind}")
