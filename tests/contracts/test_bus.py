"""What every bus promises, whatever carries its events: order, gaps, and that no subscriber harms another."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from position_server.clock import SystemClock
from position_server.events.bus import Bus, Missed, Notice, PriceUpdate, Sequences
from position_server.events.in_process import InProcessBus
from position_server.events.redis_bus import RedisBus
from position_server.metrics import Metrics
from tests.events.examples import Listener, price_update
from tests.redis_server import RedisServer, own_redis
from tests.servers import until

MOST_WAITING = 20


class Wire:
    """Where a test publishes and subscribes; over Redis these are two buses, as in two processes."""

    def __init__(self, publishing: Bus, subscribing: Bus, metrics: Metrics) -> None:
        self.publishing = publishing
        self.subscribing = subscribing
        self._metrics = metrics

    def publish(self, *updates: PriceUpdate) -> None:
        for update in updates:
            self.publishing.publish(update)

    def listener(self) -> Listener:
        """A new subscriber."""
        listener = Listener()
        self.subscribing.subscribe(listener)
        return listener

    def counted(self, what: str) -> float:
        """How many events of the subscribing side became this."""
        name = "position_server_events_total"
        return self._metrics.registry.get_sample_value(name, {"what": what}) or 0.0


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with own_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=["in process", "redis"])
def wire(request: pytest.FixtureRequest) -> Iterator[Wire]:
    metrics = Metrics.create()
    with ExitStack() as stack:
        if request.param == "in process":
            bus = stack.enter_context(InProcessBus(metrics, most_waiting=MOST_WAITING))
            yield Wire(bus, bus, metrics)
            return
        server: RedisServer = request.getfixturevalue("redis_server")
        options: dict[str, Any] = {"prefix": f"{next(PREFIXES)}:", "most_waiting": MOST_WAITING}
        listening = stack.enter_context(RedisBus(server.url, SystemClock(), metrics, **options))
        telling = stack.enter_context(RedisBus(server.url, SystemClock(), Metrics.create(), **options))
        yield Wire(telling, listening, metrics)


PREFIXES = count()


# --- what arrives ----------------------------------------------------------------------------------------------------


def test_every_subscriber_is_told_of_an_update_as_it_was_published(wire: Wire) -> None:
    listeners = [wire.listener() for _ in range(3)]
    update = price_update(bid=None, ask=None, spread=None)
    wire.publish(update)
    until(lambda: all(listener.has(update) for listener in listeners))


@pytest.mark.parametrize("symbol", ["BTCUSD", "C:EURUSD", "ZN Z5", "O:SPX251219C00100000", "it's 100%", "ünï-コード"])
def test_symbols_of_any_name_arrive(wire: Wire, symbol: str) -> None:
    listener, update = wire.listener(), price_update(symbol)
    wire.publish(update)
    until(lambda: listener.has(update))


def test_updates_of_a_symbol_arrive_in_the_order_of_publishing(wire: Wire) -> None:
    listener = wire.listener()
    for number in range(1, 61):
        wire.publish(*(price_update(symbol, number) for symbol in ("EURUSD", "XAUUSD")))
        if number % 10 == 0:  # else the mailbox overflows, which is another test's business
            until(lambda number=number: len(listener.notices) == 2 * number)
    assert listener.numbers("EURUSD") == listener.numbers("XAUUSD") == list(range(1, 61))
    assert listener.missed() == []


def test_a_late_subscriber_is_told_of_what_comes_later_only(wire: Wire) -> None:
    early = wire.listener()
    wire.publish(price_update(sequence=7))
    until(lambda: early.numbers("EURUSD") == [7])
    late = wire.listener()
    wire.publish(price_update(sequence=8))
    until(lambda: late.has(price_update(sequence=8)))


# --- gaps ------------------------------------------------------------------------------------------------------------


def test_a_gap_is_told_before_the_update_that_shows_it(wire: Wire) -> None:
    listener = wire.listener()
    wire.publish(price_update(sequence=1), price_update(sequence=4), price_update(sequence=5))
    gap = Missed(frozenset({"EURUSD"}))
    until(lambda: listener.has(price_update(sequence=1), gap, price_update(sequence=4), price_update(sequence=5)))


def test_the_gap_of_one_symbol_is_no_other_ones(wire: Wire) -> None:
    listener = wire.listener()
    wire.publish(price_update("A", 1), price_update("B", 1), price_update("A", 3), price_update("B", 2))
    until(lambda: listener.numbers("B") == [1, 2])
    assert listener.missed() == [frozenset({"A"})]


def test_an_update_that_was_overtaken_is_told_as_missed(wire: Wire) -> None:
    listener = wire.listener()
    wire.publish(price_update(sequence=6), price_update(sequence=5))
    until(lambda: listener.has(price_update(sequence=6), Missed(frozenset({"EURUSD"}))))


def test_the_very_same_update_again_is_no_news(wire: Wire) -> None:
    listener = wire.listener()
    wire.publish(price_update(sequence=6), price_update(sequence=6), price_update(sequence=7))
    until(lambda: listener.has(price_update(sequence=6), price_update(sequence=7)))


def test_numbers_that_begin_again_are_told_as_missed_until_they_pass(wire: Wire) -> None:
    """The store was built anew: nobody may take its third quote for the third of the old one."""
    listener = wire.listener()
    anew = [price_update(sequence=n, last_price=99.0) for n in range(1, 5)]
    wire.publish(*(price_update(sequence=n) for n in range(1, 4)), *anew)
    until(lambda: listener.numbers("EURUSD") == [1, 2, 3, 4])
    assert listener.missed() == [frozenset({"EURUSD"})] * 3


@given(st.lists(st.tuples(st.sampled_from("AB"), st.integers(1, 6), st.sampled_from([1.0, 2.0])), max_size=25))
@hypothesis_settings(max_examples=100)
def test_whatever_arrives_nothing_is_overlooked(arrivals: list[tuple[str, int, float]]) -> None:
    """What a subscriber is handed of a symbol rises by one, and whatever else arrives is told as missed."""
    sequences = Sequences()
    handed: dict[str, PriceUpdate] = {}
    for symbol, number, price in arrivals:
        update = price_update(symbol, number, last_price=price)
        before = handed.get(symbol)
        notices: list[Notice] = list(sequences.arrived(update))
        is_next = before is None or number == before.sequence + 1
        if update == before:
            assert notices == []
        elif is_next:
            assert notices == [update]
        else:
            assert notices[0] == Missed(frozenset({symbol}))
            assert notices[1:] == ([update] if before is not None and number > before.sequence else [])
        if update in notices:
            handed[symbol] = update


# --- subscribers that are no good ------------------------------------------------------------------------------------


def test_a_slow_subscriber_holds_up_nobody_and_is_told_what_it_missed(wire: Wire) -> None:
    slow, quick = wire.listener(), wire.listener()
    slow.hold()
    for number in range(1, 2 * MOST_WAITING + 1):
        wire.publish(price_update("A", number), price_update("B", number))
        if number % 10 == 0:
            until(lambda number=number: quick.numbers("B")[-1:] == [number])
    wire.publish(price_update("C", 1))
    until(lambda: quick.numbers("C") == [1])
    assert quick.missed() == []
    slow.let_go()
    until(lambda: slow.notices[-1:] == [price_update("C", 1)])
    assert slow.missed()[0] == frozenset({"A", "B"})
    assert len(slow.notices) <= MOST_WAITING + 2  # the one that held it, those that waited, and no more
    assert wire.counted("missed") >= 1


def test_publishing_to_a_subscriber_that_never_comes_back_returns_at_once(wire: Wire) -> None:
    stuck = wire.listener()
    stuck.hold()
    done = threading.Event()

    def publish_many() -> None:
        wire.publish(*(price_update(sequence=number) for number in range(1, 1001)))
        done.set()

    thread = threading.Thread(target=publish_many)
    thread.start()
    returned = done.wait(20)
    stuck.let_go()
    thread.join()
    assert returned


def test_a_subscriber_that_raises_harms_no_other_and_is_told_of_the_next_update(wire: Wire) -> None:
    told: list[Notice] = []

    def raises(notice: Notice) -> None:
        told.append(notice)
        raise ValueError("no use")

    wire.subscribing.subscribe(raises)
    good = wire.listener()
    updates = [price_update(sequence=1), price_update(sequence=2)]
    wire.publish(*updates)
    until(lambda: good.has(*updates) and told == updates)
    until(lambda: wire.counted("failed") == 2)


def test_what_one_publishes_while_receiving_arrives(wire: Wire) -> None:
    listener = wire.listener()

    def answer(notice: Notice) -> None:
        if isinstance(notice, PriceUpdate) and notice.symbol == "EURUSD":
            wire.publish(price_update("XAUUSD"))

    wire.subscribing.subscribe(answer)
    wire.publish(price_update("EURUSD"))
    until(lambda: listener.numbers("EURUSD") == listener.numbers("XAUUSD") == [1])


# --- the end ---------------------------------------------------------------------------------------------------------


def test_after_close_a_subscriber_is_told_nothing_and_the_others_go_on(wire: Wire) -> None:
    leaves, stays = Listener(), wire.listener()
    subscription = wire.subscribing.subscribe(leaves)
    wire.publish(price_update(sequence=1))
    until(lambda: leaves.numbers("EURUSD") == [1])
    subscription.close()
    subscription.close()
    wire.publish(price_update(sequence=2))
    until(lambda: stays.numbers("EURUSD") == [1, 2])
    assert leaves.numbers("EURUSD") == [1]


def test_a_subscriber_may_close_itself_while_it_receives(wire: Wire) -> None:
    told: list[Notice] = []

    def once(notice: Notice) -> None:
        told.append(notice)
        subscription.close()

    subscription = wire.subscribing.subscribe(once)
    other = wire.listener()
    wire.publish(price_update(sequence=1), price_update(sequence=2))
    until(lambda: other.numbers("EURUSD") == [1, 2])
    assert told == [price_update(sequence=1)]


def test_a_bus_may_be_closed_while_others_publish_and_subscribe(wire: Wire) -> None:
    wire.listener()
    problems: list[BaseException] = []
    stop = threading.Event()

    def keep_on(work: Callable[[int], Any]) -> None:
        try:
            for number in count(1):
                if stop.is_set():
                    return
                work(number)
        except RuntimeError as error:  # subscribing to a closed bus
            if str(error) != "the bus is closed":
                problems.append(error)
        except BaseException as error:  # noqa: BLE001 whatever it is, the test is to fail with it
            problems.append(error)

    works = [lambda number: wire.publish(price_update(sequence=number)), lambda _: wire.listener()]
    threads = [threading.Thread(target=keep_on, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    wire.subscribing.close()
    wire.publishing.close()
    wire.publish(price_update(sequence=1))  # of no use, and no harm
    stop.set()
    for thread in threads:
        thread.join(20)
    assert problems == []
    assert not any(thread.is_alive() for thread in threads)


def test_closing_a_bus_ends_its_threads(wire: Wire) -> None:
    def threads() -> list[str]:
        return [one.name for one in threading.enumerate() if one.name.startswith("events-")]

    wire.listener()
    wire.publish(price_update())
    assert threads()
    for bus in (wire.subscribing, wire.publishing):
        bus.close()
        bus.close()
    assert threads() == []
