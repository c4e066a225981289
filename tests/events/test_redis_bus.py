"""The bus over Redis when Redis is not what it should be: killed, silent, never there, or fed by strangers."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest

from position_server.clock import SystemClock
from position_server.events.bus import Missed
from position_server.events.redis_bus import RedisBus
from position_server.events.redis_outbox import MOST_UNSENT
from position_server.metrics import Metrics
from tests.events.examples import Listener, price_update
from tests.redis_server import RedisServer, own_redis
from tests.servers import until

ANYTHING = Missed(None)
PREFIXES = count()


class LeapingClock(SystemClock):
    """The machine's clock, which a test may set forward."""

    def __init__(self) -> None:
        self.leap = 0.0
        self.readings = 0

    def monotonic(self) -> float:
        self.readings += 1
        return super().monotonic() + self.leap


class Bus(RedisBus):
    """A bus, and what it counted."""

    def __init__(self, url: str, prefix: str) -> None:
        self.clock = LeapingClock()
        self.metrics = Metrics.create()
        super().__init__(url, self.clock, self.metrics, prefix=prefix)

    def counted(self, what: str) -> float:
        """How many events became this."""
        name = "position_server_events_total"
        return self.metrics.registry.get_sample_value(name, {"what": what}) or 0.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with own_redis(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def new_bus(server: RedisServer) -> Iterator[Callable[[], Bus]]:
    """`new_bus()`: another bus on the same channels. Redis is there again afterwards."""
    prefix = f"test{next(PREFIXES)}:"
    with ExitStack() as stack:
        yield lambda: stack.enter_context(Bus(server.url, prefix))
    server.start_again()


def listening(bus: RedisBus) -> Listener:
    listener = Listener()
    bus.subscribe(listener)
    return listener


# --- killed and restarted --------------------------------------------------------------------------------------------


def test_events_go_on_after_redis_was_killed_and_who_may_have_missed_some_is_told(
    server: RedisServer, new_bus: Callable[[], Bus]
) -> None:
    telling, elsewhere = new_bus(), new_bus()
    listener = listening(elsewhere)
    telling.publish(price_update(sequence=1))
    until(lambda: listener.has(price_update(sequence=1)))
    server.kill()
    until(lambda: elsewhere.counted("redis_error"))
    server.start()
    until(lambda: ANYTHING in listener.notices)
    telling.publish(price_update(sequence=2))
    until(lambda: listener.has(price_update(sequence=1), ANYTHING, price_update(sequence=2)))


def test_redis_killed_in_the_middle_of_a_stream_loses_no_update_untold(
    server: RedisServer, new_bus: Callable[[], Bus]
) -> None:
    """Whatever number a subscriber was not handed, it was told of a gap there or of missing anything."""
    telling, elsewhere = new_bus(), new_bus()
    listener = listening(elsewhere)
    numbers = count(1)

    def publish_until(seen: Callable[[], bool]) -> None:
        def one_more() -> bool:
            telling.publish(price_update(sequence=next(numbers)))
            return seen()

        until(one_more)

    publish_until(lambda: len(listener.numbers("EURUSD")) > 5)
    server.kill()
    publish_until(lambda: telling.counted("redis_error") > 0 and elsewhere.counted("redis_error") > 0)
    server.start()
    publish_until(lambda: None in listener.missed())
    last = next(numbers)
    telling.publish(price_update(sequence=last))
    until(lambda: listener.numbers("EURUSD")[-1:] == [last])
    handed, told = 0, True
    for notice in listener.notices:
        if isinstance(notice, Missed):
            told = True
        else:
            assert told or notice.sequence == handed + 1
            assert notice.sequence > handed
            handed, told = notice.sequence, False


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(r.getMessage(), r.__dict__["events"]) for r in caplog.records if r.name.endswith("redis_connection")]


def test_publishing_while_redis_is_down_returns_at_once_and_is_sent_later(
    server: RedisServer, new_bus: Callable[[], Bus], caplog: pytest.LogCaptureFixture
) -> None:
    telling, elsewhere = new_bus(), new_bus()
    listener = listening(elsewhere)
    server.kill()
    with caplog.at_level(logging.INFO):
        for number in range(1, 51):
            telling.publish(price_update(sequence=number))
        until(lambda: telling.counted("redis_error") >= 2)
        assert telling.counted("published") == 50
        until(lambda: elsewhere.counted("redis_error") >= 2)
        server.start()
        until(lambda: listener.numbers("EURUSD")[-1:] == [50])
        until(lambda: len(said(caplog)) == 4)
    assert sorted(said(caplog)) == [
        ("Redis is not reached", "not received"),
        ("Redis is not reached", "not sent"),
        ("Redis is reached again", "received"),
        ("Redis is reached again", "sent"),
    ]


def test_updates_for_a_redis_that_stays_away_are_bounded_and_counted(
    server: RedisServer, new_bus: Callable[[], Bus]
) -> None:
    telling = new_bus()
    server.kill()
    for number in range(1, MOST_UNSENT + 11):
        telling.publish(price_update(sequence=number))
    assert telling.counted("unsent") == 10
    telling.close()
    assert telling.counted("unsent") == MOST_UNSENT + 10


def test_subscribers_in_the_publishing_process_do_not_need_redis(
    server: RedisServer, new_bus: Callable[[], Bus]
) -> None:
    bus = new_bus()
    before = listening(bus)
    server.kill()
    until(lambda: bus.counted("redis_error"))
    after = listening(bus)
    updates = [price_update(sequence=number) for number in (1, 2, 3)]
    for update in updates:
        bus.publish(update)
    until(lambda: before.has(*updates) and after.has(*updates))


def test_a_bus_that_starts_before_redis_tells_its_subscribers_when_it_listens(
    server: RedisServer, new_bus: Callable[[], Bus]
) -> None:
    server.kill()
    telling, elsewhere = new_bus(), new_bus()
    listener = listening(elsewhere)
    assert listener.notices == []
    server.start()
    until(lambda: listener.has(ANYTHING))
    telling.publish(price_update())
    until(lambda: listener.has(ANYTHING, price_update()))


def test_a_connection_that_redis_closes_is_a_gap(server: RedisServer, new_bus: Callable[[], Bus]) -> None:
    bus = new_bus()
    listener = listening(bus)
    with server.client() as client:
        client.client_kill_filter(_type="pubsub")
    until(lambda: listener.has(ANYTHING))


def test_a_second_subscribe_message_is_a_gap(server: RedisServer, new_bus: Callable[[], Bus]) -> None:
    """The library may have connected again by itself; its confirmation is all that shows it."""
    bus = new_bus()
    listener = listening(bus)
    bus._inbox._take({"type": "psubscribe", "pattern": None, "channel": b"*", "data": 1})
    until(lambda: listener.has(ANYTHING))


def test_a_redis_that_falls_silent_is_given_up(server: RedisServer, new_bus: Callable[[], Bus]) -> None:
    bus = new_bus()
    listener = listening(bus)
    os.kill(server.pid, signal.SIGSTOP)
    try:
        bus.clock.leap += 25.0
        until(lambda: bus.counted("redis_error"))
    finally:
        os.kill(server.pid, signal.SIGCONT)
    until(lambda: ANYTHING in listener.notices)


def test_a_redis_with_nothing_to_say_is_not_given_up(server: RedisServer, new_bus: Callable[[], Bus]) -> None:
    telling, elsewhere = new_bus(), new_bus()
    listener = listening(elsewhere)
    with server.client() as client:

        def pings() -> int:
            return int(client.info("commandstats").get("cmdstat_ping", {"calls": 0})["calls"])

        for _ in range(3):
            before = pings()
            elsewhere.clock.leap += 11.0
            until(lambda before=before: pings() > before)
            pings()  # Redis has sent its answer to the ping by now
            readings = elsewhere.clock.readings
            until(lambda readings=readings: elsewhere.clock.readings > readings + 3)  # and it was heard
    telling.publish(price_update())
    until(lambda: listener.has(price_update()))
    assert elsewhere.counted("redis_error") == 0


# --- strangers -------------------------------------------------------------------------------------------------------

GOOD = price_update("EURUSD", 2)
STRANGE = {
    "no JSON": b"hello",
    "no text": b"\xff\xfe\x00",
    "no object": b"[1, 2]",
    "nothing": b"",
    "another type": GOOD.to_message().replace(b"price_update", b"trade"),
    "no symbol": GOOD.to_message().replace(b"EURUSD", b""),
    "no number": GOOD.to_message().replace(b'"sequence":2', b'"sequence":"2"'),
    "a number below one": GOOD.to_message().replace(b'"sequence":2', b'"sequence":0'),
    "half a number": GOOD.to_message().replace(b'"sequence":2', b'"sequence":2.5'),
    "a price that is text": GOOD.to_message().replace(b'"last_price":', b'"last_price":"x","was":'),
    "a price without end": GOOD.to_message().replace(b'"last_price":', b'"last_price":1e999,"was":'),
    "a time without offset": GOOD.to_message().replace(b"+00:00", b""),
    "a time before all time": GOOD.to_message().replace(b"2025-10-30", b"0001-01-01").replace(b"+00:00", b"+23:00"),
    "a time that is a number": b'{"type":"price_update","symbol":"A","sequence":1,"data":{"timestamp":1}}',
    "deep": b"[" * 100_000,
    "no data": b'{"type":"price_update","symbol":"A","sequence":1}',
}


@pytest.mark.parametrize("message", STRANGE.values(), ids=STRANGE)
def test_a_message_that_is_no_price_update_is_logged_and_skipped(
    server: RedisServer, new_bus: Callable[[], Bus], caplog: pytest.LogCaptureFixture, message: bytes
) -> None:
    bus = new_bus()
    listener = listening(bus)
    with server.client() as client:
        channel = bus._inbox._pattern.removesuffix("*") + "EURUSD"
        client.publish(channel, message)
        client.publish(channel, GOOD.to_message())
    until(lambda: listener.has(GOOD))
    assert bus.counted("malformed") == 1
    (record,) = [one for one in caplog.records if one.getMessage() == "a message is no price update"]
    assert len(record.__dict__["start"]) <= 200


def test_fields_that_a_later_version_adds_are_no_matter(server: RedisServer, new_bus: Callable[[], Bus]) -> None:
    bus = new_bus()
    listener = listening(bus)
    with server.client() as client:
        channel = bus._inbox._pattern.removesuffix("*") + "EURUSD"
        client.publish(channel, GOOD.to_message().replace(b'"data":{', b'"venue":"X","data":{"mood":"good",'))
    until(lambda: listener.has(GOOD))


def test_a_wrong_url_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="scheme"):
        RedisBus("http://127.0.0.1:6379", SystemClock())


def test_nothing_is_connected_before_it_is_needed(tmp_path: Path) -> None:
    before = threading.active_count()
    with RedisBus(f"unix://{tmp_path}/nobody.sock", SystemClock()):
        assert threading.active_count() == before
