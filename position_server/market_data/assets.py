"""What is fetched: the assets of the configuration, and the instruments that they are in the store. No SQL here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from position_server.market_data.priority_queue import Level
from position_server.settings import AssetSettings, MarketDataSettings

DEMO = "demo"  # MARKET_DATA["base_url"] of the invented provider
POLYGON = "polygon"
TICKERS_PER_CALL = 250  # of the universal snapshot
PAIRS = ("forex", "crypto")  # asset types that are one thing priced in another


@dataclass(frozen=True, slots=True)
class Asset:
    """One instrument whose quotes are fetched, under its name here and at the provider."""

    symbol: str
    provider_ticker: str
    asset_type: str  # forex, crypto, index, equity, option
    level: Level
    name: str | None = None
    base_asset: str | None = None
    quote_asset: str | None = None
    price_precision: int | None = None

    @classmethod
    def of(cls, entry: AssetSettings) -> Asset:
        """The asset that an entry of the configuration describes."""
        return cls(**{**entry.model_dump(), "level": Level[entry.level]})

    @property
    def is_priority(self) -> bool:
        """Whether the priority batch fetches it."""
        return self.level is Level.CRITICAL

    def instrument_row(self) -> dict[str, Any] | None:
        """Its row of `instruments`, where the configuration tells enough: a pair, both sides named. Else None."""
        if self.asset_type not in PAIRS or not self.base_asset or not self.quote_asset:
            return None
        return {
            "instrument": self.symbol,
            "kind": "SPOT",
            "name": self.name,
            "currency": self.quote_asset,
            "base_currency": self.base_asset,
            "multiplier": 1.0,
            "tick_size": None if self.price_precision is None else 10.0**-self.price_precision,
        }

    def rounded(self, price: float) -> float:
        """A difference of its prices without the noise of binary fractions."""
        return round(price, 10 if self.price_precision is None else self.price_precision + 2)


def assets_of(settings: MarketDataSettings) -> tuple[Asset, ...]:
    """The assets of the configuration, in its order."""
    return tuple(Asset.of(entry) for entry in settings.assets)


def priority(assets: Iterable[Asset]) -> list[Asset]:
    """Those of the priority batch."""
    return [asset for asset in assets if asset.is_priority]


def secondary(assets: Iterable[Asset]) -> list[Asset]:
    """Those that take their turn in the queue, highest level first."""
    return sorted((asset for asset in assets if not asset.is_priority), key=lambda asset: asset.level)


def calls_for(assets: Sequence[Asset]) -> int:
    """Calls that it takes to fetch these at once."""
    return -(-len(assets) // TICKERS_PER_CALL)


def provider_of(settings: MarketDataSettings) -> str:
    """The provider's name, in `asset_sync.provider` and `quotes.source`: invented quotes are never called real."""
    return DEMO if settings.base_url == DEMO else POLYGON
