"""The OpenAPI 3.1 document, derived from the route table, the declarations of parameters, and the catalogue."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from position_server import __version__
from position_server.access import Role
from position_server.environment.catalogue import Catalogue
from position_server.params import ParamReader, ReadOptions
from position_server.web.base import JsonHandler
from position_server.web.operations import SCHEMAS, answer, ref

WORD = re.compile(r"\w+")
REQUEST_ID_HEADER = {
    "name": "X-Request-ID",
    "in": "header",
    "description": "Kept where it is a plain token of at most 64 characters; else the server makes one.",
    "schema": {"type": "string"},
}
KEYS = {
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "Bearer": {"type": "http", "scheme": "bearer", "description": "The same API key."},
}
NO_KEY, WEAK_KEY = "An API key is needed, or the one sent is not valid.", "The API key's role does not suffice."
NOT_YET = "The API keys are not known yet, or too many wait to be checked; see `Retry-After`."


def build_document(
    routes: Sequence[tuple[str, type[JsonHandler]]], reader: ParamReader, catalogue: Catalogue, *, keys_needed: bool
) -> dict[str, Any]:
    """The document of these routes (path, handler); of a server that needs API keys, or of one that has none."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "position-server",
            "version": __version__,
            "description": "A trading desk's positions, prices, P&L and risk, already computed.",
        },
        "paths": {path: _path(path, handler, reader, catalogue) for path, handler in routes},
        "components": {"schemas": {**SCHEMAS, "WhatIf": _what_if(reader, catalogue)}, "securitySchemes": KEYS},
        "security": [{name: []} for name in KEYS] if keys_needed else [],
    }


def _path(path: str, handler: type[JsonHandler], reader: ParamReader, catalogue: Catalogue) -> dict[str, Any]:
    item: dict[str, Any] = {}
    for method, docs in handler.docs.items():
        operation = {"operationId": f"{method}_{'_'.join(WORD.findall(path))}", **docs}
        declared = operation.pop("parameters", ())
        own = _query_parameters(reader, catalogue) if declared == "query" else declared
        parameters: list[Mapping[str, Any]] = [REQUEST_ID_HEADER, *own]
        if operation.get("requestBody") == "json":
            operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": ref("WhatIf")}}}
        responses = {**operation["responses"], "405": answer("Another method; see `Allow`.", _error_of(operation))}
        item[method] = {**operation, "parameters": parameters, "responses": responses}
        item[method] |= (
            {"security": []} if handler.for_everybody else _guarded(item[method], handler.role_for(method.upper()))
        )
    return item


def _guarded(operation: Mapping[str, Any], role: Role) -> dict[str, Any]:
    """What the guard adds to an operation: the role that it needs, and the answers of a refusal."""
    error = _error_of(operation)
    refusals = {"401": answer(NO_KEY, error), "403": answer(WEAK_KEY, error), "503": answer(NOT_YET, error)}
    description = f"{operation.get('description', '')} Needs the role {role.word}.".strip()
    return {"description": description, "responses": {**refusals, **operation["responses"]}}


def _error_of(operation: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of the operation's errors: its envelope where it has one."""
    failed = operation["responses"].get("500")
    return failed["content"]["application/json"]["schema"] if failed else ref("Error")


def _query_parameters(reader: ParamReader, catalogue: Catalogue) -> list[dict[str, Any]]:
    described = [*reader.get_param_descriptions(), *reader.get_param_descriptions(ReadOptions)]
    return [_query_parameter(description, catalogue) for description in described]


def _query_parameter(description: Mapping[str, Any], catalogue: Catalogue) -> dict[str, Any]:
    schema = dict(description["schema"])
    if "anyOf" in schema:  # "or null" is a matter of leaving the argument out
        schema = next(choice for choice in schema["anyOf"] if choice.get("type") != "null")
    if description["name"] == "sections":
        schema = {"type": "array", "items": {"enum": sorted(catalogue.sections)}}
    lists = {"style": "form", "explode": False} if schema.get("type") == "array" else {}
    return {
        "name": description["name"],
        "in": "query",
        "required": description["required"],
        "description": description["description"],
        "schema": {**schema, **({} if description["default"] is None else {"default": description["default"]})},
        **({} if description["example"] is None else {"example": description["example"]}),
        **lists,
    }


def _what_if(reader: ParamReader, catalogue: Catalogue) -> dict[str, Any]:
    fields = reader.get_param_descriptions()
    sections = {
        name: {
            "type": "object",
            "description": info.description,
            "properties": {parameter: _inlined(schema) for parameter, schema in info.params.items()},
            "additionalProperties": False,
        }
        for name, info in catalogue.sections.items()
    }
    overrides = {"type": ["object", "null"], "properties": sections, "additionalProperties": False}
    return {
        "type": "object",
        "properties": {
            **{f["name"]: {**f["schema"], "description": f["description"]} for f in fields},
            "section_params": overrides,
        },
        "required": [f["name"] for f in fields if f["required"]],
        "additionalProperties": False,
        "example": {f["name"]: f["example"] for f in fields},
    }


def _inlined(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key != "title"}
