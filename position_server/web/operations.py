"""What each route takes and answers, as OpenAPI operations. Data only; web/openapi.py makes the document of them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

Schema = Mapping[str, Any]
NUMBER = {"type": "number"}
INTEGER = {"type": "integer"}
TEXT = {"type": "string"}
FLAG = {"type": "boolean"}
MOMENT = {"type": "string", "format": "date-time"}


def nullable(schema: Schema) -> Schema:
    """The schema, or null."""
    return {**schema, "type": [schema["type"], "null"]}


def record(properties: Mapping[str, Schema], *, optional: tuple[str, ...] = ()) -> Schema:
    """An object with these properties and no others, required but for the `optional` ones."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": dict(properties), "required": required, "additionalProperties": False}


def map_of(schema: Schema) -> Schema:
    """An object whose values are all of this schema."""
    return {"type": "object", "additionalProperties": schema}


def ref(name: str) -> Schema:
    """A reference to one of SCHEMAS."""
    return {"$ref": f"#/components/schemas/{name}"}


PROBLEM = record({"field": TEXT, "message": TEXT})
METADATA = record(
    {
        "last_updated": nullable(MOMENT),
        "status": {"enum": ["ok", "stale", "error"]},
        "refresh_duration_ms": INTEGER,
        "version": INTEGER,
        "market_data_as_of": nullable(TEXT),
        "positions_as_of": nullable(TEXT),
        "oldest_price_date": nullable(TEXT),
        "stale_since": nullable(MOMENT),
        "stale_reason": nullable(TEXT),
    }
)
SECTION_DATA = {
    "type": ["object", "null"],
    "description": "Rows, totals, coverage and warnings; null where the section never had good data.",
    "properties": {
        "positions": {"type": "array", "items": {"type": "object"}},
        "totals": {"type": "object"},
        "coverage": {"type": "object"},
        "warnings": {"type": "array", "items": TEXT},
    },
}
ENVELOPE: Mapping[str, Schema] = {
    "request_id": TEXT,
    "request_timestamp": MOMENT,
    "duration_ms": INTEGER,
    "curl_command": TEXT,
    "request_params": {"type": ["object", "null"]},
    "section_params": {"type": ["object", "null"]},
    "cache_hit": FLAG,
    "server_status": {"enum": ["warming_up", "warmed_up"]},
    "environment_id": nullable(TEXT),
    "age_seconds": nullable(NUMBER),
    "error": FLAG,
    "error_stack": TEXT,
}
COUNTERS = {"runs": INTEGER, "failures": INTEGER}
WARMUP_STATUSES = ["starting", "running", "idle", "error", "config_error", "outside_window"]

SCHEMAS: Mapping[str, Schema] = MappingProxyType(
    {
        "Error": record(
            {"error": TEXT, "message": TEXT, "details": {"type": "array", "items": PROBLEM}, "request_id": TEXT},
            optional=("details",),
        ),
        "Section": record({"data": SECTION_DATA, "metadata": METADATA, "error_stack": TEXT}),
        "Environment": record({**ENVELOPE, "sections": map_of(ref("Section"))}),
        "EnvironmentError": record(
            {
                **ENVELOPE,
                "error_code": TEXT,
                "message": TEXT,
                "problems": {"type": "array", "items": PROBLEM},
                "sections": {"type": "null"},
            }
        ),
        "WarmUp": record(
            {
                "status": {"enum": WARMUP_STATUSES},
                "in_time_window": FLAG,
                "last_run": nullable(MOMENT),
                "next_run": nullable(MOMENT),
                "last_duration_ms": nullable(INTEGER),
                "last_error": nullable(TEXT),
                **COUNTERS,
            }
        ),
        "CacheKey": record(
            {
                "key": {"type": "object"},
                "sections": map_of({"enum": ["ok", "stale", "error"]}),
                "version": INTEGER,
                "age_seconds": NUMBER,
                "state": {"enum": ["fresh", "grace", "expired"]},
            }
        ),
        "Status": record(
            {
                "server_status": {"enum": ["warming_up", "warmed_up"]},
                "warmup_threads": map_of(ref("WarmUp")),
                "cache": record(
                    {
                        "size": INTEGER,
                        "bytes": INTEGER,
                        "hits": INTEGER,
                        "misses": INTEGER,
                        "hit_ratio": nullable(NUMBER),
                        "evictions": INTEGER,
                        "keys": {"type": "array", "items": ref("CacheKey")},
                    }
                ),
                "sections": map_of(
                    record(
                        {
                            **COUNTERS,
                            "timeouts": INTEGER,
                            "p50_ms": nullable(INTEGER),
                            "p99_ms": nullable(INTEGER),
                            "last_error": nullable(TEXT),
                        }
                    )
                ),
                "compute": record({"queue": map_of(INTEGER), "busy": INTEGER, "capacity": INTEGER, "workers": INTEGER}),
                "version": TEXT,
                "uptime_seconds": NUMBER,
            }
        ),
        "ParamDescription": record(
            {
                "name": TEXT,
                "description": TEXT,
                "required": FLAG,
                "default": {},
                "example": {},
                "schema": {"type": "object"},
            }
        ),
        "Params": record(
            {
                "params": {"type": "array", "items": ref("ParamDescription")},
                "read_options": {"type": "array", "items": ref("ParamDescription")},
                "section_params": map_of({"type": "object"}),
            }
        ),
    }
)


def answer(description: str, schema: Schema, media: str = "application/json") -> Schema:
    """One answer of an operation."""
    return {"description": description, "content": {media: {"schema": schema}}}


ENVIRONMENT_ERROR = ref("EnvironmentError")
ENVIRONMENT_ERRORS = {
    "400": answer("The request is wrong; `problems` names every field.", ENVIRONMENT_ERROR),
    "413": answer("The body is too large.", ENVIRONMENT_ERROR),
    "500": answer("The server failed.", ENVIRONMENT_ERROR),
    "503": answer(
        "The compute queue is full, or data as fresh as asked for cannot be had; see `Retry-After`.", ENVIRONMENT_ERROR
    ),
}
ENVIRONMENT_GET: Schema = {
    "summary": "Read an environment through the cache",
    "parameters": "query",  # filled in from the parameters' declarations
    "responses": {
        "200": answer("The environment.", ref("Environment")),
        "304": {"description": "The caller's ETag is current."},
        **ENVIRONMENT_ERRORS,
    },
}
ENVIRONMENT_POST: Schema = {
    "summary": "Compute an environment with overrides, always fresh, never cached",
    "requestBody": "json",  # filled in from the parameters' declarations and the sections
    "responses": {
        "200": answer("The environment.", ref("Environment")),
        "403": answer(
            "A page of another origin may not ask, or the API key's role does not suffice.", ENVIRONMENT_ERROR
        ),
        **ENVIRONMENT_ERRORS,
    },
}
STATUS: Schema = {
    "summary": "How the server is doing",
    "responses": {"200": answer("Warm-ups, cache, sections, compute.", ref("Status"))},
}
PARAMS: Schema = {
    "summary": "What a request may say",
    "responses": {"200": answer("Every parameter.", ref("Params")), "503": answer("Starting.", ref("Error"))},
}
OPENAPI: Schema = {
    "summary": "This document",
    "responses": {"200": answer("OpenAPI 3.1.", {"type": "object"}), "503": answer("Starting.", ref("Error"))},
}
METRICS: Schema = {
    "summary": "Counters and histograms",
    "responses": {"200": answer("Prometheus' text format.", TEXT, "text/plain")},
}
DOWN = {"error": TEXT}
HEALTH_REPORT = record(
    {
        "status": {"enum": ["healthy", "unhealthy"]},
        "timestamp": MOMENT,
        "services": map_of(
            record(
                {"status": {"enum": ["up", "down"]}, "url": TEXT, "latency_ms": NUMBER, **DOWN},
                optional=("url", "error"),
            )
        ),
        "storage": record(
            {"data_directory": TEXT, "writable": FLAG, "free_space_mb": nullable(INTEGER), **DOWN}, optional=("error",)
        ),
        "database": record(
            {"status": {"enum": ["connected", "down"]}, "path": TEXT, "latency_ms": NUMBER, **DOWN}, optional=("error",)
        ),
    }
)
HEALTH: Schema = {
    "summary": "Is what the server works with there",
    "responses": {
        "200": answer("What is required is.", HEALTH_REPORT),
        "503": answer("Something required is down.", HEALTH_REPORT),
    },
}
HEALTH_LIVE: Schema = {
    "summary": "Is the process alive",
    "responses": {"200": answer("It is.", record({"status": {"const": "alive"}}))},
}
READY = record(
    {
        "status": {"const": "ready"},
        "mode": {"enum": ["cache", "db_fallback"]},
        "cache_entries": INTEGER,
        "message": TEXT,
        "error": TEXT,
    },
    optional=("message", "error"),
)
INITIALIZING = record(
    {
        "status": {"const": "initializing"},
        "elapsed_seconds": NUMBER,
        "entries_loaded": INTEGER,
        "cache_entries": INTEGER,
    }
)
HEALTH_READY: Schema = {
    "summary": "Should a load balancer send traffic here",
    "responses": {"200": answer("Yes.", READY), "503": answer("Not yet.", INITIALIZING)},
}
