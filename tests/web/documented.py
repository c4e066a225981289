"""Answers held against the document."""

from __future__ import annotations

from typing import Any

import httpx
import jsonschema

from position_server.web import operations


def said(response: httpx.Response, operation: Any, status: int = 200) -> Any:
    """The body, which must be what the document says of this status."""
    assert response.status_code == status, response.text
    schema = operation["responses"][str(status)]["content"]["application/json"]["schema"]
    whole = {**schema, "components": {"schemas": {"Error": operations.SCHEMAS["Error"]}}}
    jsonschema.validate(response.json(), whole, cls=jsonschema.Draft202012Validator)
    return response.json()
