"""What the routes of the nightly batch take and answer, as OpenAPI operations. Data only, as operations.py."""

from __future__ import annotations

from position_server.web.batch_operations import BAD_ARGUMENTS, ERROR, argument, list_of
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

DAY = {"type": "string", "format": "date"}
BATCH_TYPE = {"enum": ["symbol_batch", "portfolio_refresh"]}
NO_STORE = answer("The store cannot be reached now; see `Retry-After`.", ERROR)
NO_SNAPSHOT = answer("There is no such snapshot.", ERROR)
TOO_LARGE = answer("The body is too large.", ERROR)


def segment(name: str, description: str, example: str) -> Schema:
    """A part of the path."""
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": TEXT,
        "example": example,
    }


def json_body(schema: Schema, example: object) -> Schema:
    """A request body."""
    return {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}


BOOK = segment("book", "The book.", "CUPS")
DATE = argument("date", "The day of the snapshot; without it, the newest.", DAY, "2025-10-30")

RUN = record(
    {
        "run_id": TEXT,
        "batch_type": BATCH_TYPE,
        "batch_date": DAY,
        "status": {"enum": ["running", "completed", "failed", "superseded"]},
        "process": TEXT,
        "supersedes": nullable(TEXT),
        "started_at": MOMENT,
        "heartbeat_at": MOMENT,
        "completed_at": nullable(MOMENT),
        "error_message": nullable(TEXT),
        "input_hash": nullable(TEXT),
        "counts": {"type": "object"},
    }
)
SNAPSHOT = record(
    {
        "date": DAY,
        "currency": TEXT,
        "total_value": nullable(NUMBER),
        "total_cost": nullable(NUMBER),
        "total_pnl": nullable(NUMBER),
        "daily_pnl": nullable(NUMBER),
        "counts": record(
            {
                "positions": INTEGER,
                "by_kind": map_of(INTEGER),
                "by_class": map_of(INTEGER),
                "by_price_source": map_of(INTEGER),
            }
        ),
        "coverage": record({"positions": INTEGER, "priced": INTEGER, "gross_share": nullable(NUMBER)}),
        "warnings": list_of(TEXT),
    }
)
JOB = record(
    {
        "symbol": TEXT,
        "status": {"enum": ["pending", "processing", "completed", "failed"]},
        "attempts": INTEGER,
        "requested_by": TEXT,
        "error_message": nullable(TEXT),
        "queued_at": MOMENT,
        "started_at": nullable(MOMENT),
        "completed_at": nullable(MOMENT),
    }
)
THREE_WAYS = record({"snapshot": nullable(NUMBER), "environment": nullable(NUMBER), "rolled_forward": nullable(NUMBER)})

RUNS: Schema = {
    "summary": "The runs of the nightly batches, newest first",
    "parameters": [
        argument("batch_type", "Only runs of this batch.", BATCH_TYPE, "symbol_batch"),
        argument("date", "Only runs for this date.", DAY, "2025-10-30"),
        argument("limit", "How many.", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 20}, 5),
    ],
    "responses": {
        "200": answer("The runs, superseded ones too.", record({"runs": list_of(RUN)})),
        "400": BAD_ARGUMENTS,
        "503": NO_STORE,
    },
}
SNAPSHOTS: Schema = {
    "summary": "A book's nightly snapshots, oldest first",
    "parameters": [
        BOOK,
        argument("from", "The first day.", DAY, "2025-10-01"),
        argument("to", "The last day.", DAY, "2025-10-30"),
    ],
    "responses": {
        "200": answer(
            "The snapshots; none where the book has none.", record({"book": TEXT, "snapshots": list_of(SNAPSHOT)})
        ),
        "400": BAD_ARGUMENTS,
        "503": NO_STORE,
    },
}
EXPOSURES: Schema = {
    "summary": "A book's factor exposures, as of a snapshot",
    "parameters": [BOOK, DATE],
    "responses": {
        "200": answer(
            "The exposures; `note` says what the weights are.",
            record(
                {
                    "book": TEXT,
                    "date": DAY,
                    "exposures": map_of(nullable(NUMBER)),
                    "exposures_as_of": nullable(DAY),
                    "private_allocation_pct": nullable(NUMBER),
                    "options_allocation_pct": nullable(NUMBER),
                    "coverage": nullable(NUMBER),
                    "note": TEXT,
                }
            ),
        ),
        "400": BAD_ARGUMENTS,
        "404": NO_SNAPSHOT,
        "503": NO_STORE,
    },
}
TIE_OUT: Schema = {
    "summary": "A snapshot against the EOD environment of its day, and against the snapshot before and its trades",
    "parameters": [BOOK, DATE],
    "responses": {
        "200": answer(
            "The comparison, by position.",
            record(
                {
                    "book": TEXT,
                    "date": DAY,
                    "currency": TEXT,
                    "ties_out": FLAG,
                    "previous_snapshot": nullable(DAY),
                    "trades": INTEGER,
                    "positions_compared": INTEGER,
                    "positions_off": INTEGER,
                    "totals": THREE_WAYS,
                    "positions": list_of(
                        record(
                            {
                                "instrument": TEXT,
                                "kind": nullable(TEXT),
                                "quantity": THREE_WAYS,
                                "market_value_base": THREE_WAYS,
                                "differences": list_of(TEXT),
                            }
                        )
                    ),
                }
            ),
        ),
        "400": BAD_ARGUMENTS,
        "404": NO_SNAPSHOT,
        "503": answer("The store cannot be reached, or the environment not be computed now; see `Retry-After`.", ERROR),
    },
}
VALUATION: Schema = {
    "summary": "Write down what a book's private position is worth",
    "parameters": [BOOK, segment("instrument", "The private instrument.", "PVT-HARBOR-LP")],
    "requestBody": json_body(
        record(
            {
                "market_value": {**NUMBER, "description": "Of the whole position, in the instrument's currency."},
                "valued_on": {**DAY, "description": "Default: the last completed business day."},
                "valued_by": {**TEXT, "description": "Who says so; with API keys in use it is the key's id."},
            },
            optional=("valued_on", "valued_by"),
        ),
        {"market_value": 1900000.0, "valued_on": "2025-10-30"},
    ),
    "responses": {
        "200": answer(
            "It is in the store; `replaced` where it took the place of another one of that day.",
            record(
                {
                    "book": TEXT,
                    "instrument": TEXT,
                    "valued_on": DAY,
                    "market_value": NUMBER,
                    "currency": TEXT,
                    "valued_by": TEXT,
                    "entered_at": MOMENT,
                    "replaced": FLAG,
                }
            ),
        ),
        "400": BAD_ARGUMENTS,
        "403": answer("A page of another origin may not ask, or the API key's role does not suffice.", ERROR),
        "404": answer("The book has never held that instrument.", ERROR),
        "413": TOO_LARGE,
        "503": NO_STORE,
    },
}
ONBOARD: Schema = {
    "summary": "Queue new symbols: their prices and factor exposures are fetched in the background",
    "requestBody": json_body(
        record({"symbols": {**list_of(TEXT), "minItems": 1, "maxItems": 1000}}), {"symbols": ["NVDA"]}
    ),
    "responses": {
        "202": answer(
            "They are queued, beside those that were already; follow one at `/onboarding/{symbol}`.",
            record({"queued": list_of(TEXT), "jobs": list_of(JOB)}),
        ),
        "400": BAD_ARGUMENTS,
        "403": answer("A page of another origin may not ask, or the API key's role does not suffice.", ERROR),
        "413": TOO_LARGE,
        "503": NO_STORE,
    },
}
ONBOARDING: Schema = {
    "summary": "How the onboarding of one symbol goes",
    "parameters": [segment("symbol", "The symbol; an option in any of its forms.", "NVDA")],
    "responses": {
        "200": answer("The job.", JOB),
        "404": answer("Nobody has asked for that symbol.", ERROR),
        "503": NO_STORE,
    },
}
