"""What the routes of market data take and answer, as OpenAPI operations. Data only, as operations.py."""

from __future__ import annotations

from collections.abc import Mapping

from position_server.market_data.priority_queue import Level
from position_server.web.operations import (
    FLAG,
    INTEGER,
    MOMENT,
    NUMBER,
    TEXT,
    Schema,
    answer,
    nullable,
    record,
    ref,
)

ERROR = ref("Error")
LEVEL = {"enum": [level.name for level in Level]}
SYNC_STATUS = {"enum": ["pending", "in_progress", "success", "failed", "stale"]}
BAD_ARGUMENTS = answer("An argument is wrong; `details` names it.", ERROR)
NO_STORE = answer("The store, or Redis, cannot be reached now; see `Retry-After`.", ERROR)


def list_of(schema: Schema) -> Schema:
    """A list of what the schema says."""
    return {"type": "array", "items": schema}


def argument(name: str, description: str, schema: Schema, example: object) -> Schema:
    """An argument of a query string that may be left out."""
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": description,
        "schema": schema,
        "example": example,
    }


JOB = record({"id": TEXT, "name": TEXT, "next_run": MOMENT})
FAILURE = record({"symbol": TEXT, "error": TEXT})
BATCH_RESULT = record(
    {
        "batch_id": TEXT,
        "started_at": MOMENT,
        "completed_at": MOMENT,
        "duration_ms": INTEGER,
        "priority_updated": INTEGER,
        "priority_failed": list_of(FAILURE),
        "queue_processed": INTEGER,
        "queue_remaining": INTEGER,
        "api_calls_used": INTEGER,
        "rate_limit_waits": INTEGER,
        "errors": list_of(TEXT),
    }
)
ASSET = record(
    {
        "symbol": TEXT,
        "name": nullable(TEXT),
        "asset_type": TEXT,
        "provider_ticker": TEXT,
        "level": LEVEL,
        "sync_status": SYNC_STATUS,
        "last_price": nullable(NUMBER),
        "bid": nullable(NUMBER),
        "ask": nullable(NUMBER),
        "spread": nullable(NUMBER),
        "quote_time": nullable(MOMENT),
        "quote_age_seconds": nullable(NUMBER),
        "source": nullable(TEXT),
        "last_attempt": nullable(MOMENT),
        "last_update": nullable(MOMENT),
        "last_error": nullable(TEXT),
        "updates": INTEGER,
        "failures": INTEGER,
    }
)
AGES: Mapping[str, Schema] = {
    "expected_age_seconds": nullable(NUMBER),
    "worst_case_age_seconds": nullable(NUMBER),
    "goes_stale": FLAG,
    "stale_pct": NUMBER,
    "reason": nullable(TEXT),
}
LOAD: Mapping[str, Schema] = {
    "priority_calls": INTEGER,
    "queue_calls": INTEGER,
    "utilisation_pct": NUMBER,
    "goes_stale": list_of(TEXT),
}
BUDGET = record(
    {
        "calls": INTEGER,
        "window_seconds": NUMBER,
        "priority_interval_seconds": NUMBER,
        "queue_interval_seconds": NUMBER,
        "secondary_interval_seconds": NUMBER,
        "stale_after_seconds": NUMBER,
        "answer_seconds": NUMBER,
        "guard_seconds": NUMBER,
        "symbols_per_call": INTEGER,
        "queue_size": INTEGER,
    }
)
PLANNED = record(
    {"symbol": TEXT, "level": LEVEL, **AGES, "added": FLAG, "before": {"anyOf": [record(AGES), {"type": "null"}]}}
)

STATUS: Schema = {
    "summary": "Whether quotes are fetched, when next, and the newest batch",
    "responses": {
        "200": answer(
            "The updater. `api_calls_remaining` is null where the store cannot tell.",
            record(
                {
                    "batch_id": TEXT,
                    "status": {"enum": ["running", "stopped"]},
                    "last_run": nullable(MOMENT),
                    "next_run": nullable(MOMENT),
                    "priority_assets": list_of(TEXT),
                    "queue_size": INTEGER,
                    "api_calls_remaining": nullable(INTEGER),
                    "jobs": list_of(JOB),
                }
            ),
        )
    },
}
RUN_RESULT = record({"duration_ms": INTEGER, "updated": INTEGER, "failed": INTEGER, "api_calls_used": INTEGER})
RUN: Schema = {
    "summary": "Run the priority batch now, or wait for the one that runs",
    "responses": {
        "200": answer(
            "It ran; `success` is false where some assets failed.",
            record({"success": FLAG, "batch_id": TEXT, "result": RUN_RESULT, "message": TEXT}),
        ),
        "403": answer("A page of another origin may not ask, or the API key's role does not suffice.", ERROR),
        "409": answer("Market data are switched off.", ERROR),
        "413": answer("The body is too large.", ERROR),
        "500": answer("The batch itself broke (`batch_failed`).", ERROR),
    },
}
QUEUE_STATS: Schema = {
    "summary": "The queue in numbers",
    "responses": {
        "200": answer(
            "The queue of this process.",
            record(
                {
                    "size": INTEGER,
                    "max_size": INTEGER,
                    "by_priority": record({level.name: INTEGER for level in Level}),
                    "oldest_age_seconds": nullable(NUMBER),
                    "total_enqueued": INTEGER,
                    "total_processed": INTEGER,
                    "total_refused": INTEGER,
                    "total_given_up": INTEGER,
                }
            ),
        )
    },
}
RATE_LIMIT: Schema = {
    "summary": "The call budget in numbers",
    "responses": {
        "200": answer(
            "The budget, of all processes that share it.",
            record(
                {
                    "limit": INTEGER,
                    "window_seconds": NUMBER,
                    "current_calls": INTEGER,
                    "remaining": INTEGER,
                    "reset_at": MOMENT,
                    "total_calls": INTEGER,
                    "total_waits": INTEGER,
                    "waiting": INTEGER,
                    "paused_until": nullable(MOMENT),
                }
            ),
        ),
        "503": NO_STORE,
    },
}
RESULTS: Schema = {
    "summary": "The newest batch results, newest first",
    "parameters": [
        argument("limit", "How many.", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 20}, 5)
    ],
    "responses": {"200": answer("The results.", list_of(BATCH_RESULT)), "400": BAD_ARGUMENTS, "503": NO_STORE},
}
ASSETS: Schema = {
    "summary": "Every asset: its newest quote and how its updates go",
    "responses": {"200": answer("The assets, as configured.", list_of(ASSET)), "503": NO_STORE},
}
PLAN: Schema = {
    "summary": "How old each quote gets under the call budget, and what more assets would cost the others",
    "parameters": [
        argument("add", "Symbols with their levels: SYMBOL:LEVEL,…", TEXT, "NZDUSD:LOW,EURCHF:CRITICAL"),
    ],
    "responses": {
        "200": answer(
            "The plan, with the additions; `before` is without them.",
            record(
                {
                    "budget": BUDGET,
                    **LOAD,
                    "before": {"anyOf": [record(LOAD), {"type": "null"}]},
                    "symbols": list_of(PLANNED),
                }
            ),
        ),
        "400": BAD_ARGUMENTS,
    },
}
