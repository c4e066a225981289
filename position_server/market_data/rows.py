"""What HTTP shows of market data, made of what the store has. Pure: the time is an argument."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from position_server.market_data.assets import Asset
from position_server.market_data.results import BatchResult, iso


def asset_row(
    asset: Asset, sync: Mapping[str, Any], quote: Mapping[str, Any], now: datetime, stale_after: timedelta
) -> dict[str, Any]:
    """An asset with its newest quote and how its updates go; both may be empty. `last_price` is None only without any
    price: else the quote's own, or the middle of bid and ask, as LIVE takes it."""
    bid, ask, last = quote.get("bid"), quote.get("ask"), quote.get("last_price")
    middle, spread = None, None
    if bid is not None and ask is not None:
        middle, spread = (bid + ask) / 2, asset.rounded(ask - bid)
    return {
        "symbol": asset.symbol,
        "name": asset.name,
        "asset_type": asset.asset_type,
        "provider_ticker": asset.provider_ticker,
        "level": asset.level.name,
        "sync_status": shown_status(sync, now, stale_after),
        "last_price": middle if last is None else last,
        "bid": bid,
        "ask": ask,
        "spread": spread,
        "quote_time": _iso_or_none(quote.get("quote_time")),
        "quote_age_seconds": _age(quote.get("quote_time"), now),
        "source": quote.get("source"),
        "last_attempt": _iso_or_none(sync.get("last_attempt")),
        "last_update": _iso_or_none(sync.get("last_update")),
        "last_error": sync.get("last_error"),
        "updates": sync.get("updates", 0),
        "failures": sync.get("failures", 0),
    }


def shown_status(sync: Mapping[str, Any], now: datetime, stale_after: timedelta) -> str:
    """The sync status as of now: `stale` where the last update is longer ago, whatever the last attempt came to."""
    status, last = str(sync.get("sync_status", "pending")), sync.get("last_update")
    is_stale = status != "in_progress" and last is not None and now - last > stale_after
    return "stale" if is_stale else status


def run_answer(result: BatchResult) -> dict[str, Any]:
    """What a run that was asked for answers."""
    updated, failed = result.priority_updated, len(result.priority_failed)
    message = f"{updated} of {updated + failed} priority assets updated"
    if failed:
        message += "; failed: " + ", ".join(symbol for symbol, _ in result.priority_failed)
    return {
        "success": not failed,
        "batch_id": result.batch_id,
        "result": {
            "duration_ms": result.duration_ms,
            "updated": updated,
            "failed": failed,
            "api_calls_used": result.api_calls_used,
        },
        "message": message,
    }


def _iso_or_none(moment: datetime | None) -> str | None:
    return None if moment is None else iso(moment)


def _age(moment: datetime | None, now: datetime) -> float | None:
    return None if moment is None else round(max(0.0, (now - moment).total_seconds()), 3)
