"""`demo-provider` as a process, asked by the client that the server uses, and its refusals."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from position_server.cli import main
from position_server.market_data.provider import DailyBar, ProviderClient, ProviderQuote, TickerNotFound
from tests.house.test_imports import imported_with
from tests.market_data.test_provider import Permits
from tests.servers import REPOSITORY, until

COMMAND = [sys.executable, "-m", "position_server", "demo-provider"]
STOP = threading.Event()  # never set
LAST_DAY = date(2025, 10, 30)
# A server in short: it opens the socket, hands it and its own end of a pipe to a provider, and is there.
PARENT = """
import socket, subprocess, sys, time
listening = socket.create_server(("127.0.0.1", 0))
command = [*sys.argv[1:], "--fd", str(listening.fileno())]
child = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[listening.fileno()])
print(listening.getsockname()[1], flush=True)
time.sleep(600)
"""


@dataclass
class Provider:
    """A running demo provider."""

    url: str
    permits: Permits
    client: ProviderClient
    http: httpx.Client


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    """Started as the server starts it; asked at once, while it still reads its data."""
    data = tmp_path_factory.mktemp("provider")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        descriptor = listening.fileno()
        flags = ["--fd", str(descriptor), "--data-dir", str(data)]
        process = subprocess.Popen(
            [*COMMAND, *flags], cwd=REPOSITORY, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, pass_fds=[descriptor]
        )
    permits = Permits()
    client = ProviderClient(url, "any-key", permits, timeout_seconds=60)
    with process, httpx.Client(base_url=url, timeout=60) as http:
        yield Provider(url, permits, client, http)
        client.close()
        process.stdin.close()  # type: ignore[union-attr]
        assert process.wait(60) == 1  # it ended because its parent's end of the pipe did


def test_every_kind_of_spot_comes_in_one_call_dated_now(provider: Provider) -> None:
    tickers = ["C:XAUUSD", "C:XAGUSD", "C:EURUSD", "X:BTCUSD", "X:ETHUSD", "AAPL", "O:AAPL251219C00240000"]
    made = provider.client.calls_made
    quotes = provider.client.quotes(tickers, STOP)
    assert provider.client.calls_made - made == 1
    for ticker in tickers:
        quote = quotes[ticker]
        assert isinstance(quote, ProviderQuote), quote
        assert None not in (quote.bid, quote.ask, quote.last_price, quote.open, quote.high, quote.low, quote.close)
        assert 0 < quote.bid < quote.last_price < quote.ask  # type: ignore[operator]
        assert abs(datetime.now(UTC) - quote.timestamp) < timedelta(minutes=2)


def test_the_older_snapshots_say_the_same(provider: Provider) -> None:
    forex = provider.client.forex_quotes(["C:EURUSD", "C:XAUUSD", "C:NONE"], STOP)
    crypto = provider.client.crypto_quotes(["X:BTCUSD", "X:ETHUSD"], STOP)
    assert isinstance(forex["C:NONE"], TickerNotFound)
    for quote in (forex["C:EURUSD"], forex["C:XAUUSD"], *crypto.values()):
        assert isinstance(quote, ProviderQuote)
        assert quote.last_price is not None
    assert all(quote.bid is None for quote in crypto.values())  # type: ignore[union-attr]


def test_unknown_tickers_are_so_as_at_the_real_provider(provider: Provider) -> None:
    answers = provider.client.quotes(["AAPL", "ZNEWCO", "SPY"], STOP)
    assert [type(answers[ticker]) for ticker in ("AAPL", "ZNEWCO", "SPY")] == [
        ProviderQuote,
        TickerNotFound,
        TickerNotFound,
    ]
    with pytest.raises(TickerNotFound):
        provider.client.daily_bars("SPY", LAST_DAY, LAST_DAY, STOP)
    with pytest.raises(TickerNotFound):
        provider.client.option_chain("SPY", STOP)
    single = provider.http.get("/v2/snapshot/locale/global/markets/forex/tickers/C:NONE")
    assert (single.status_code, single.json()["status"]) == (404, "NOT_FOUND")
    assert provider.http.get("/v3/snapshot/options/AAPL/O:NONE").status_code == 404
    assert provider.http.get("/v1/marketstatus/now").text == "404 page not found\n"


def test_a_chain_has_all_its_pages(provider: Provider) -> None:
    chain = provider.client.option_chain("AAPL", STOP)
    assert len(chain) > 100
    assert all(isinstance(quote, ProviderQuote) for quote in chain.values())
    one = provider.http.get("/v3/snapshot/options/AAPL/O:AAPL251219C00240000").json()["results"]
    assert one["details"]["strike_price"] == 240


def test_pages_have_ten_items_unless_more_are_asked_for_and_lead_to_all(provider: Provider) -> None:
    names: list[str] = []
    address: str | None = "/v3/snapshot?limit=250"
    while address:
        page = provider.http.get(address).json()
        names += [item["ticker"] for item in page["results"]]
        address = page.get("next_url")
    assert names == sorted(set(names))
    assert len(names) > 1000
    first = provider.http.get("/v3/snapshot", params={"ticker.any_of": ",".join(names[:11])}).json()
    assert len(first["results"]) == 10
    assert len(provider.http.get(first["next_url"]).json()["results"]) == 1


def test_daily_bars_and_all_stocks_of_a_day(provider: Provider) -> None:
    bars = provider.client.daily_bars("AAPL", date(2025, 10, 25), date(2025, 11, 5), STOP)
    assert [bar.day.day for bar in bars] == [27, 28, 29, 30]
    assert bars[-1] == DailyBar("AAPL", LAST_DAY, 271.99, 274.14, 268.48, 271.4, bars[-1].volume)
    grouped = provider.client.grouped_daily(LAST_DAY, STOP)
    assert grouped["AAPL"] == bars[-1]
    assert grouped["PXMOM"] == provider.client.daily_bars("PXMOM", LAST_DAY, LAST_DAY, STOP)[0]
    coins = provider.client.daily_bars("X:BTCUSD", LAST_DAY, LAST_DAY, STOP)
    assert [(bar.day, bar.close) for bar in coins] == [(LAST_DAY, 108308.18)]


@pytest.mark.parametrize(
    "path",
    [
        "/v3/snapshot?limit=0",
        "/v3/snapshot?limit=251",
        "/v3/snapshot?limit=x",
        "/v3/snapshot?ticker.gt=A",
        "/v3/snapshot?cursor=nonsense",
        "/v3/snapshot?cursor=WzEsMiwzXQ==",
        "/v3/snapshot?ticker.any_of=" + ",".join(f"T{n}" for n in range(251)),
        "/v3/snapshot/options/AAPL?strike_price=240",
        "/v2/aggs/ticker/AAPL/range/5/minute/2025-10-01/2025-10-30",
        "/v2/aggs/ticker/AAPL/range/1/day/yesterday/2025-10-30",
        "/v2/aggs/grouped/locale/us/market/stocks/2025-02-30",
    ],
)
def test_what_it_cannot_do_it_refuses(provider: Provider, path: str) -> None:
    refused = provider.http.get(path)
    assert (refused.status_code, refused.json()["status"]) == (400, "ERROR")
    assert refused.json()["error"]


def test_any_key_will_do_and_none_will_too(provider: Provider) -> None:
    path = "/v3/snapshot?ticker.any_of=AAPL"
    for headers in ({}, {"Authorization": "Bearer x"}):
        assert provider.http.get(path, headers=headers).status_code == 200
    assert provider.http.get(f"{path}&apiKey=x").status_code == 200


def test_dates_of_a_range_may_be_milliseconds(provider: Provider) -> None:
    path = "/v2/aggs/ticker/AAPL/range/1/day/1761782400000/1761868799999"
    assert provider.http.get(path, params={"sort": "desc"}).json()["resultsCount"] == 1


# --- its life --------------------------------------------------------------------------------------------------------


def test_it_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, *COMMAND, "--data-dir", str(tmp_path)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        port = int(parent.stdout.readline())  # type: ignore[union-attr]
        assert httpx.get(f"http://127.0.0.1:{port}/v3/snapshot?limit=1", timeout=60).status_code == 200
        parent.kill()
    until(lambda: _is_refused(port))


def _is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionError:
        return True
    return False


def test_by_hand_it_says_where_it_listens_and_ends_when_told(tmp_path: Path) -> None:
    log = tmp_path / "log"
    flags = ["--port", "0", "--seed", "7", "--data-dir", str(tmp_path)]
    with log.open("wb") as sink:
        process = subprocess.Popen([*COMMAND, *flags], cwd=REPOSITORY, stdin=subprocess.DEVNULL, stderr=sink)
    with process:
        try:
            line = json.loads(until(lambda: log.read_text().strip(), 60).splitlines()[0])
            answer = httpx.get(f"http://{line['host']}:{line['port']}/v3/snapshot", timeout=60)
            assert (line["message"], answer.status_code) == ("listening", 200)
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()


def test_it_refuses_what_it_cannot_listen_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data-dir", str(tmp_path)]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["demo-provider", "--port", str(taken.getsockname()[1]), *data]) == 2
    assert "--port: cannot listen" in capsys.readouterr().err
    read, write = os.pipe()
    assert main(["demo-provider", "--fd", str(read), *data]) == 2
    assert "--fd" in capsys.readouterr().err
    os.close(read)
    os.close(write)
    with socket.socket() as silent:
        assert main(["demo-provider", "--fd", str(silent.fileno()), *data]) == 2
        assert "does not listen" in capsys.readouterr().err


def test_it_imports_nothing_of_the_server() -> None:
    rooms = ("app", "web", "environment", "market_data", "sections", "compute", "store", "events", "access")
    served = [name for name in imported_with("position_server.cli.demo_provider") if name.startswith("position_server")]
    assert [name for name in served if name.split(".")[1:2] and name.split(".")[1] in rooms] == []
