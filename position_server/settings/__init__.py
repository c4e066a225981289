"""Settings: config.py, over it environment variables, over them flags; read once, checked whole, frozen.

`groups` are the dictionaries of config.py, `loading` is all of them together and how they are read.
"""

from position_server.settings.groups import (
    AssetSettings,
    CacheSettings,
    ComputeSettings,
    LogSettings,
    MarketDataSettings,
    PortfolioSettings,
    ServerSettings,
    SimulationSettings,
    StoreSettings,
)
from position_server.settings.loading import CONFIG_FILE, ENV_PREFIX, Settings, known_zone, load_settings

__all__ = [
    "CONFIG_FILE",
    "ENV_PREFIX",
    "AssetSettings",
    "CacheSettings",
    "ComputeSettings",
    "LogSettings",
    "MarketDataSettings",
    "PortfolioSettings",
    "ServerSettings",
    "Settings",
    "SimulationSettings",
    "StoreSettings",
    "known_zone",
    "load_settings",
]
