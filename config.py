"""What an operator edits: plain names and values. docs/configuration.md explains each one.

Stronger than this file are environment variables (POSITION_SERVER_SERVER__PORT=9000 for SERVER["port"],
POSITION_SERVER_BUSINESS_DATE=2025-10-30 for a plain name) and, above them, the flags of the command.
"""

# --- where it listens --------------------------------------------------------------------------------------------
SERVER = {
    "host": "127.0.0.1",
    "port": 8888,
    "fast_path": True,  # answer hits in front of the handlers
    "max_body_mb": 2.0,  # a larger POST is answered 413
    "idle_connection_seconds": 75.0,
    "body_timeout_seconds": 30.0,
    "max_wait_seconds": 60.0,  # longest wait for a computation; 503 after it
    "ready_after_seconds": 30.0,  # /health/ready says so after this, even if the warm-ups have not run
    "shutdown_grace_seconds": 10.0,
}
ALLOW_ANONYMOUS = False  # True: listen on other addresses than loopback although there are no API keys
EXPOSE_TRACEBACKS = True  # False: error_stack stays empty in answers; the log keeps the traceback

# --- the desk ----------------------------------------------------------------------------------------------------
TIMEZONE = "America/New_York"
CALENDAR = "XNYS"
BASE_CURRENCY = "USD"
VALID_TIME_OF_DAY = ["SOD", "EOD", "LIVE"]
BUSINESS_DATE = "2025-10-30"  # the demo's day. A real desk: None, the last business day not after today

# --- the data ----------------------------------------------------------------------------------------------------
STORE = {
    "url": None,  # None: SQLite in the data folder. Or "postgresql://user@host:5432/database"
    "demo": True,  # build the demo desk at start when there is no SQLite store yet
}

# --- computing ---------------------------------------------------------------------------------------------------
COMPUTE = {
    "workers": None,  # None: one per core, at least two
    "nice": 10,  # workers give way to the serving process
    "memory_mb": 4096,  # address space of one worker; a section that asks for more fails alone
    "queue": 256,  # section computations that may wait, per kind; beyond it 503
    "threads": 32,  # threads that wait for workers
}
TIMEOUTS = {  # seconds a section may compute before its worker is killed
    "default": 10.0,
    "new_trades": 5.0,
}

# --- the cache ---------------------------------------------------------------------------------------------------
CACHE = {
    "max_entries": 500,
    "max_mb": 512.0,
    "error_ttl_seconds": 5.0,  # an answer with a failed section is tried again after this
    "ttl_seconds": {"SOD": 3600.0, "EOD": 900.0, "LIVE": 15.0},
    "grace_seconds": {"SOD": 86400.0, "EOD": 3600.0, "LIVE": 60.0},
    "snapshot_seconds": 300.0,  # written to disk so often, and at the end; a restart serves it, marked stale
    "snapshot_mb": 128.0,
}

# --- warm-ups: environments kept computed ------------------------------------------------------------------------
# Dates are literal (YYYY-MM-DD) or business days before the business date: "T", "T-1", "T-5".
# The demo's windows are open all day and all week, so that it is warm whenever it is started. A desk's usual ones:
#   SOD_MAIN   start_time "06:00"  end_time "09:30"  interval_seconds 900   days "business"
#   LIVE_EXO   start_time "09:30"  end_time "16:15"  interval_seconds 10    days "business"
#   EOD_MAIN   start_time "16:30"  end_time "23:00"  interval_seconds 600   days "business"
#   ASIA_LIVE  start_time "20:00"  end_time "04:00"  interval_seconds 30    days ["SUN", "MON", "TUE", "WED", "THU"]
WARMUP_CONFIGS = [
    {
        "name": "SOD_MAIN",
        "params": {"env_date": "T", "pos_date": "T-1", "books": ["CUPS", "YCSO"], "time_of_day": "SOD"},
        "start_time": "00:00",
        "end_time": "00:00",
        "interval_seconds": 900,
        "days": "all",
    },
    {
        "name": "LIVE_EXO",
        "params": {"env_date": "T", "pos_date": "T-1", "books": ["EXO"], "time_of_day": "LIVE"},
        "start_time": "00:00",
        "end_time": "00:00",
        "interval_seconds": 10,
        "days": "all",
    },
    {
        "name": "EOD_MAIN",
        "params": {"env_date": "T", "pos_date": "T", "books": ["CUPS", "YCSO"], "time_of_day": "EOD"},
        "start_time": "00:00",
        "end_time": "00:00",
        "interval_seconds": 600,
        "days": "all",
    },
]

# --- market data: quotes kept fresh under the provider's limit of calls ------------------------------------------
# fmt: off
MARKET_DATA = {
    "enabled": True,
    "base_url": "demo",  # invented quotes, from a process of its own. Or "https://api.massive.com"
    "api_key": None,  # better in the environment, as POSITION_SERVER_MARKET_DATA__API_KEY: a file is copied and shown
    "timeout_seconds": 10.0,
    "calls": 5,  # the provider allows so many calls in any window
    "window_seconds": 60.0,
    "priority_interval_seconds": 300.0,  # the CRITICAL assets, together
    "queue_interval_seconds": 15.0,  # what waits in the queue, with the calls that are left
    "secondary_interval_seconds": 1800.0,  # the other assets join the queue
    "stale_after_seconds": 900.0,
    "assets": [  # the CRITICAL ones are the priority batch
        {"symbol": "XAUUSD", "provider_ticker": "C:XAUUSD", "asset_type": "forex", "level": "CRITICAL",
         "name": "Gold", "base_asset": "XAU", "quote_asset": "USD", "price_precision": 2},
        {"symbol": "EURUSD", "provider_ticker": "C:EURUSD", "asset_type": "forex", "level": "CRITICAL",
         "name": "Euro / US dollar", "base_asset": "EUR", "quote_asset": "USD", "price_precision": 5},
        {"symbol": "BTCUSD", "provider_ticker": "X:BTCUSD", "asset_type": "crypto", "level": "CRITICAL",
         "name": "Bitcoin", "base_asset": "BTC", "quote_asset": "USD", "price_precision": 2},
        {"symbol": "ETHUSDT", "provider_ticker": "X:ETHUSD", "asset_type": "crypto", "level": "HIGH",  # no USDT there
         "name": "Ether / Tether", "base_asset": "ETH", "quote_asset": "USDT", "price_precision": 2},
        {"symbol": "GBPUSD", "provider_ticker": "C:GBPUSD", "asset_type": "forex", "level": "HIGH",
         "name": "Pound sterling / US dollar", "base_asset": "GBP", "quote_asset": "USD", "price_precision": 5},
        {"symbol": "USDJPY", "provider_ticker": "C:USDJPY", "asset_type": "forex", "level": "HIGH",
         "name": "US dollar / yen", "base_asset": "USD", "quote_asset": "JPY", "price_precision": 3},
        {"symbol": "XAGUSD", "provider_ticker": "C:XAGUSD", "asset_type": "forex", "level": "MEDIUM",
         "name": "Silver", "base_asset": "XAG", "quote_asset": "USD", "price_precision": 3},
        {"symbol": "AUDUSD", "provider_ticker": "C:AUDUSD", "asset_type": "forex", "level": "LOW",
         "name": "Australian dollar / US dollar", "base_asset": "AUD", "quote_asset": "USD", "price_precision": 5},
        {"symbol": "USDCAD", "provider_ticker": "C:USDCAD", "asset_type": "forex", "level": "LOW",
         "name": "US dollar / Canadian dollar", "base_asset": "USD", "quote_asset": "CAD", "price_precision": 5},
    ],
}
# fmt: on
REDIS_URL = None  # "redis://127.0.0.1:6379/0": events and the call budget are shared through it

# --- simulations: model portfolios, day by day -------------------------------------------------------------------
SIMULATION = {
    "start_date": None,  # a model's first day; None: the first day with prices
    "max_concurrent_jobs": 1,
    "resume_jobs": True,  # a job whose server died goes on at its first unfinished model-day
    "model_day_timeout_seconds": 300.0,
    "retries": 3,  # tries of a model-day that fails for the moment
    "tool_servers": {},  # of agents: {"search": "http://127.0.0.1:8004/mcp"}; without one a tool runs in the worker
}

# --- the nightly batch: prices and factor exposures of symbols, snapshots of books --------------------------------
# fmt: off
PORTFOLIO = {
    "poll_seconds": 300.0,  # `portfolios` looks so often whether `symbols` of its date is done,
    "max_wait_seconds": 3600.0,  # and gives up after this
    "heartbeat_timeout_seconds": 120.0,  # a run whose process is silent for this long is taken for dead
    "onboarding_wait_seconds": 120.0,  # longest wait for symbols being onboarded
    "factor_window_days": 252,
    # The demo's proxies. A real desk: each factor's own symbol, {"VUG": "VUG", ...}
    "factors": {
        "VUG": "PXHIV", "VTV": "PXREV", "MTUM": "PXMOM", "QUAL": "PXLRG",
        "IWM": "PXSML", "SPY": "PXMKT", "USMV": "PXLOV", "TLT": "PXTSY",
    },
    "market_factor": "SPY",
    "universe": ["QQQ"],  # symbols to process beside those of positions
    "max_gap_share": 0.2,  # `symbols` with gaps in more than this share has failed
}
# fmt: on

# --- the log -----------------------------------------------------------------------------------------------------
LOGS = {
    "level": "INFO",
    "access": True,  # one line per request
}
