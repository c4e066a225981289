"""What the routes of simulations take and answer, as OpenAPI operations. Data only, as operations.py."""

from __future__ import annotations

from typing import Any

from position_server.web.batch_operations import ERROR, argument, list_of
from position_server.web.operations import (
    FLAG,
    INTEGER,
    MOMENT,
    NUMBER,
    TEXT,
    Schema,
    answer,
    map_of,
    nullable,
    record,
)
from position_server.web.portfolio_operations import DAY, NO_STORE, TOO_LARGE, json_body, segment

JOB_STATUS = {"enum": ["pending", "running", "completed", "partial", "failed", "cancelled"]}
MODEL_DAY_STATUS = {"enum": ["pending", "running", "completed", "failed", "cancelled"]}
UNKNOWN_JOB = answer(
    "There is no such job.", record({"error": TEXT, "message": TEXT, "job_id": TEXT, "request_id": TEXT})
)
CONFLICT = answer(
    "Another simulation runs, or one has completed days of the range and `replace_existing` is not true.",
    record(
        {
            "error": TEXT,
            "message": TEXT,
            "current_job_id": TEXT,
            "current_date_range": list_of(DAY),
            "request_id": TEXT,
        }
    ),
)
FORBIDDEN = answer("A page of another origin may not ask, or the API key's role does not suffice.", ERROR)
JOB_ID = segment("job_id", "The job.", "0d4f5a1c9e0b4a7e8c1f2a3b4c5d6e7f")

MODEL_DAY = {"date": DAY, "model": TEXT}
COUNTS: dict[str, Schema] = {
    "total_model_days": INTEGER,
    "completed": INTEGER,
    "failed": INTEGER,
    "current": {"oneOf": [record(MODEL_DAY), {"type": "null"}]},
}
DETAIL = record(
    {
        **MODEL_DAY,
        "status": MODEL_DAY_STATUS,
        "duration_seconds": nullable(NUMBER),
        "error": nullable(TEXT),
    }
)
SUMMARY: dict[str, Schema] = {
    "job_id": TEXT,
    "status": JOB_STATUS,
    "date_range": list_of(DAY),
    "models": list_of(TEXT),
    "config_path": TEXT,
    "cancel_requested": FLAG,
    "created_at": MOMENT,
    "started_at": nullable(MOMENT),
    "updated_at": MOMENT,
    "completed_at": nullable(MOMENT),
    "total_duration_seconds": nullable(NUMBER),
}
PROGRESS = {**SUMMARY, "progress": record(COUNTS)}
JOB = record(PROGRESS)
WHOLE_JOB = record({**SUMMARY, "progress": record({**COUNTS, "details": list_of(DETAIL)})})

VALUES: dict[str, Schema] = {"profit": NUMBER, "return_pct": nullable(NUMBER), "portfolio_value": NUMBER}
TRADE = record(
    {
        "id": TEXT,
        "action": {"enum": ["buy", "sell"]},
        "symbol": TEXT,
        "amount": INTEGER,
        "price": NUMBER,
        "costs": NUMBER,
        "total": NUMBER,
    }
)
REASONS: dict[str, Schema] = {
    "trades": list_of(TRADE),
    "ai_reasoning": record(
        {
            "total_steps": INTEGER,
            "stop_signal_received": FLAG,
            "reasoning_summary": nullable(TEXT),
            "tool_usage": map_of(INTEGER),
        }
    ),
    "log_file_path": nullable(TEXT),
}
ONLY_FULL = tuple(REASONS)
POSITIONS = {**map_of(NUMBER), "description": "Shares by symbol, and `CASH`."}
OF_A_DAY = record({"model": TEXT, "positions": POSITIONS, "daily_pnl": record(VALUES), **REASONS}, optional=ONLY_FULL)
METRICS = record(
    {
        "trading_days": INTEGER,
        "starting_portfolio_value": NUMBER,
        "ending_portfolio_value": NUMBER,
        "period_return_pct": nullable(NUMBER),
        "annualised_return_pct": nullable(NUMBER),
        "volatility_pct": nullable(NUMBER),
        "sharpe_ratio": nullable(NUMBER),
        "max_drawdown_pct": nullable(NUMBER),
    }
)
OF_A_RANGE = record(
    {
        "model": TEXT,
        "daily": list_of(
            record({"date": DAY, **VALUES, "positions": POSITIONS, **REASONS}, optional=("positions", *ONLY_FULL))
        ),
        "metrics": METRICS,
    }
)


def _one_of(*schemas: Schema) -> dict[str, Any]:
    return {"oneOf": list(schemas)}


TRIGGER: Schema = {
    "summary": "Begin a simulation",
    "requestBody": {
        **json_body(
            record(
                {
                    "config_path": nullable({**TEXT, "description": "Default: `configs/default_config.json`."}),
                    "start_date": nullable({**DAY, "description": "Default: for each model what is due."}),
                    "end_date": nullable({**DAY, "description": "Default: the last day with prices."}),
                    "models": {"type": ["array", "null"], "items": TEXT, "minItems": 1},
                    "replace_existing": {**FLAG, "description": "Removes what the models did from the first day on."},
                },
                optional=("config_path", "start_date", "end_date", "models", "replace_existing"),
            ),
            {"start_date": "2025-09-02", "end_date": "2025-09-30", "models": ["momentum"]},
        ),
        "required": False,
    },
    "responses": {
        "200": answer(
            "This simulation is there already, running or over; or nothing is due.",
            _one_of(
                record({**PROGRESS, "message": TEXT}),
                record(
                    {
                        "status": {"const": "current"},
                        "message": TEXT,
                        "last_simulation_date": nullable(DAY),
                        "next_trading_day": DAY,
                    }
                ),
            ),
        ),
        "202": answer(
            "The job is created; `Location` is its status.",
            record(
                {
                    "job_id": TEXT,
                    "status": {"const": "accepted"},
                    "date_range": list_of(DAY),
                    "models": list_of(TEXT),
                    "created_at": MOMENT,
                    "message": TEXT,
                }
            ),
        ),
        "400": answer("A field, a date or the configuration is wrong; `details` names what.", ERROR),
        "403": FORBIDDEN,
        "409": CONFLICT,
        "413": TOO_LARGE,
        "503": answer("No prices reach that far, or the store cannot be reached now; see `Retry-After`.", ERROR),
    },
}
STATUS: Schema = {
    "summary": "A job with every model-day",
    "parameters": [JOB_ID],
    "responses": {"200": answer("The job.", WHOLE_JOB), "404": UNKNOWN_JOB, "503": NO_STORE},
}
CURRENT: Schema = {
    "summary": "The newest job, without its model-days",
    "responses": {
        "200": answer("The job.", JOB),
        "404": answer("Nothing was simulated yet.", ERROR),
        "503": NO_STORE,
    },
}
STREAM: Schema = {
    "summary": "A job's progress as it changes, as Server-Sent Events",
    "parameters": [JOB_ID],
    "responses": {
        "200": answer(
            "An event `progress` with the job now and after each change; at its end an event `end`, and no more.",
            {"type": "string"},
            "text/event-stream",
        ),
        "204": {"description": "The client has seen the end (`Last-Event-ID: end`): it need not connect again."},
        "404": UNKNOWN_JOB,
        "503": answer("Too many streams are open, or the store cannot be reached now; see `Retry-After`.", ERROR),
    },
}
CANCEL: Schema = {
    "summary": "Stop a job after the model-days that run",
    "parameters": [JOB_ID],
    "responses": {
        "200": answer("The job; one that is over stays as it is.", JOB),
        "403": FORBIDDEN,
        "404": UNKNOWN_JOB,
        "503": NO_STORE,
    },
}
RESULTS: Schema = {
    "summary": "What models did, on a day or over a range",
    "parameters": [
        argument("date", "The day; or else a range, or a job.", DAY, "2025-09-30"),
        argument("start_date", "The first day of a range.", DAY, "2025-09-02"),
        argument("end_date", "The last day of a range.", DAY, "2025-09-30"),
        argument("model", "Only this model.", TEXT, "momentum"),
        argument("job_id", "Only what this job did.", TEXT, "0d4f5a1c9e0b4a7e8c1f2a3b4c5d6e7f"),
        argument("detail", "`full` adds trades and reasoning.", {"enum": ["minimal", "full"]}, "full"),
    ],
    "responses": {
        "200": answer(
            "Of one day, or of a range with its figures.",
            _one_of(
                record({"date": DAY, "results": list_of(OF_A_DAY)}),
                record({"start_date": DAY, "end_date": DAY, "results": list_of(OF_A_RANGE)}),
            ),
        ),
        "400": answer("An argument is wrong; `details` names it.", ERROR),
        "404": answer("No model has completed any of it.", ERROR),
        "503": NO_STORE,
    },
}
