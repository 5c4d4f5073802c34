"""The OpenAPI description, made of the operations."""

import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from dropzone import __version__
from dropzone.web.api.operation import Operation
from dropzone.web.problems import MEDIA_TYPE, phrase

_REF = "#/components/schemas/{model}"
_ALWAYS = (400, 401, 403, 404, 422, 429, 503)
_CHANGES = (409, 413, 415)
_PARTS = re.compile(r"{(\w+)(?::\w+)?}")
_IDS = {
    "job": "^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$",
    "upload": "^[0-9a-f]{32}$",
}


class ProblemTold(BaseModel):
    """An error (RFC 9457): a sentence, and what to do about it."""

    type: str
    title: str
    status: int
    detail: str
    what_to_do: str


def description(operations: Sequence[Operation], prefix: str = "") -> dict[str, Any]:
    """Return the description of these operations below ``prefix``."""
    schemas, refs = _schemas(operations)
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        path = _PARTS.sub(r"{\1}", one.path)
        paths.setdefault(path, {})[one.method.lower()] = _described(one, schemas, refs)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "dropzone",
            "version": __version__,
            "description": "What the commands of dropzone tell and do, over HTTP.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": prefix or "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
            },
        },
        "security": [{"token": []}],
    }


_Refs = dict[tuple[type[BaseModel], JsonSchemaMode], dict[str, Any]]


def _schemas(operations: Iterable[Operation]) -> tuple[dict[str, Any], _Refs]:
    wanted: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        (ProblemTold, "serialization")
    ]
    for one in operations:
        wanted.append((one.query, "validation"))
        if one.headers is not None:
            wanted.append((one.headers, "validation"))
        if one.body is not None:
            wanted.append((one.body, "validation"))
        if one.answer is not None:
            wanted.append((one.answer, "serialization"))
    refs, definitions = models_json_schema(
        list(dict.fromkeys(wanted)), ref_template=_REF
    )
    return definitions["$defs"], refs  # type: ignore[return-value]


def _described(one: Operation, schemas: dict[str, Any], refs: _Refs) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": one.name,
        "summary": one.summary,
        "tags": [[*one.path.split("/"), "about"][3]],
        "parameters": [
            *_in_path(one),
            *_given(one.query, "query", schemas, refs),
            *(_given(one.headers, "header", schemas, refs) if one.headers else ()),
        ],
        "responses": _answers(one, refs),
    }
    if one.role is not None:
        told["description"] = f"Takes the role {one.role}."
    if one.body is not None:
        schema = refs[one.body, "validation"]
        told["requestBody"] = {
            "required": bool(_resolved(schema, schemas).get("required")),
            "content": {"application/json": {"schema": schema}},
        }
    elif one.takes:
        schema = {"type": "string", "format": "binary"}
        told["requestBody"] = {"content": {one.takes: {"schema": schema}}}
    return told


def _in_path(one: Operation) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string"}
            | ({"pattern": _IDS[name]} if name in _IDS else {"minLength": 1}),
        }
        for name in _PARTS.findall(one.path)
    ]


def _given(
    model: type[BaseModel], where: str, schemas: dict[str, Any], refs: _Refs
) -> list[dict[str, Any]]:
    schema = _resolved(refs[model, "validation"], schemas)
    required = schema.get("required", ())
    found = []
    for name, given in schema.get("properties", {}).items():
        parameter = {"name": name, "in": where, "required": name in required}
        # A parameter that is not given is null to us; nobody can send a null.
        parts = [p for p in given.get("anyOf", ()) if p.get("type") != "null"]
        kept = {k: v for k, v in given.items() if k not in {"anyOf", "default"}}
        parameter["schema"] = {**kept, **parts[0]} if parts else given
        if told := given.get("description"):
            parameter["description"] = told
        found.append(parameter)
    return found


def _answers(one: Operation, refs: _Refs) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    if one.answer is not None:
        schema = refs[one.answer, "serialization"]
    elif one.media == "application/json":
        schema = {"type": "object"}
    good: dict[str, Any] = {"description": "What was asked for."}
    if one.status != HTTPStatus.NO_CONTENT and one.method != "HEAD":
        good["content"] = {one.media: {"schema": schema}}
    answers = {str(one.status): good}
    if one.method == "GET" and one.media == "application/json":
        answers["304"] = {"description": "The same as If-None-Match names."}
    changes = _CHANGES if one.method != "GET" else ()
    for status in sorted({*_ALWAYS, *changes, *one.also}):
        answers[str(status)] = {
            "description": phrase(status),
            "content": {MEDIA_TYPE: {"schema": refs[ProblemTold, "serialization"]}},
        }
    return answers


def _resolved(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    found: dict[str, Any] = schemas[name] if name else schema
    return found
