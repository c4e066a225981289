"""GET of what is cached, at three sizes: against every peer, compressed, and with a matching ETag."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from bench import bodies, open_loop, rivals
from bench.bodies import LARGE, MEDIUM, SIZES, SMALL, Size
from bench.lab import LARGE as LARGE_STORE
from bench.lab import Lab
from bench.lines import Goal, Line, at_least, line, not_measured, ratios
from bench.open_loop import Latency
from bench.rivals import Rival
from bench.subject import NO_WARM_UPS, Subject, filler, serving, settings, with_filler
from bench.turns import Cell, Round, closed_loop, in_turn

OURS, GZIP, NOT_MODIFIED, COMPRESSED_SIZE = "position-server", "gzip", "304", "plain of the compressed size"
AGAINST_STRAIGHTFORWARD = {SMALL: at_least(3.5), MEDIUM: at_least(18), LARGE: at_least(60)}
AGAINST_BARE = at_least(0.8)
AGAINST_COMPRESSED_SIZE, AGAINST_PLAIN, AGAINST_SMALL_HIT = at_least(0.9), at_least(1), at_least(1)
OPEN_LOOP_RATE = 300.0  # a second at 120 KB: about half of what the slowest peer can do
OPEN_LOOP_SECONDS = 1.0
OPEN_LOOP_PEERS = (OURS, "straightforward", "FastAPI + orjson", "bare Tornado")
QUICK_PEERS = ("straightforward", "bare Tornado")
ALL_PEERS = (*rivals.PYTHON_PEERS, rivals.NGINX)
ACCEPT_GZIP = {"Accept-Encoding": "gzip"}

Name = tuple[str, Size]


@dataclass(frozen=True, slots=True)
class Results:
    """What was found by what was asked and at which size, round by round; whether gzip came at each size."""

    rounds: dict[Name, list[Round]]
    compressed: dict[Size, bool]

    def rates(self, what: str, size: Size) -> list[float]:
        """Requests a second."""
        return [one.per_second for one in self.rounds[what, size]]

    def processor_us(self, what: str, size: Size) -> list[float]:
        """Microseconds of the server's processor time for each."""
        return [one.processor_us for one in self.rounds[what, size]]

    def ratio(self, what: str, other: str, size: Size) -> list[float]:
        """One over the other at that size."""
        return ratios(self.rates(what, size), self.rates(other, size))


def measure(lab: Lab) -> list[Line]:
    """The lines of hits."""
    variables = {**NO_WARM_UPS, **settings(CACHE__TTL_SECONDS__EOD=3600)}
    saved = lab.new_folder("bodies")
    with ExitStack() as stack:
        ours = stack.enter_context(
            serving(lab, lab.demo_store(LARGE_STORE), variables=variables, core=lab.cores.server)
        )
        filled = stack.enter_context(
            serving(lab, lab.empty_store(), variables=variables | with_filler(lab), core=lab.cores.server)
        )
        lab.say("bodies: " + ", ".join(f"{n:,} bytes" for n in bodies.save(ours, saved).values()))
        peers = stack.enter_context(rivals.running(lab, saved, QUICK_PEERS if lab.quick else ALL_PEERS))
        compressed = {size: _is_compressed(ours, size) for size in SIZES}
        cells = _cells(ours, filled, peers, compressed)
        lab.say(f"hits: {len(cells)} cells, {lab.rounds} rounds of a second each")
        rounds = closed_loop(cells, lab.rounds, lab.cores.client)
        latencies = {} if lab.quick else _open_loop(lab, ours, peers)
    return [*_lines(Results(rounds, compressed), tuple(peers)), *_latency_lines(latencies)]


def _is_compressed(ours: Subject, size: Size) -> bool:
    return ours.ask(size.question, ACCEPT_GZIP).headers.get("content-encoding") == "gzip"


def _cells(ours: Subject, filled: Subject, peers: dict[str, Rival], compressed: dict[Size, bool]) -> dict[Name, Cell]:
    cells: dict[Name, Cell] = {}
    for size in SIZES:
        url = ours.url(size.question)
        cells[OURS, size] = Cell(url, ours.child)
        cells |= {(name, size): Cell(peer.url(size.file), peer.child) for name, peer in peers.items()}
        cells[NOT_MODIFIED, size] = Cell(url, ours.child, {"If-None-Match": ours.ask(size.question).headers["etag"]})
        if compressed[size]:
            cells[GZIP, size] = Cell(url, ours.child, ACCEPT_GZIP)
            cells[COMPRESSED_SIZE, size] = Cell(
                _plain_of(filled, len(ours.ask(size.question, ACCEPT_GZIP).body)), filled.child
            )
    return cells


def _plain_of(filled: Subject, wanted: int) -> str:
    """The address of a plain body of about so many bytes: the filler is adjusted by what the first try missed."""
    body = len(filled.ask(filler(wanted)).body)
    question = filler(max(0, 2 * wanted - body))
    filled.ask(question)
    return filled.url(question)


def _open_loop(lab: Lab, ours: Subject, peers: dict[str, Rival]) -> dict[str, list[Latency]]:
    where = {OURS: (ours.port, MEDIUM.question.path)}
    where |= {name: (peer.port, f"/{MEDIUM.file}") for name, peer in peers.items()}

    def turn(port: int, path: str) -> Latency:
        return open_loop.measure(port, [path], rate=OPEN_LOOP_RATE, seconds=OPEN_LOOP_SECONDS, core=lab.cores.client)

    turns = {name: partial(turn, *where[name]) for name in OPEN_LOOP_PEERS if name in where}
    return in_turn(turns, lab.rounds)


def _lines(results: Results, peers: tuple[str, ...]) -> list[Line]:
    lines = [
        line(f"GET hit, {size.name}: {name}", results.rates(name, size), "/s")
        for size in SIZES
        for name in (OURS, *peers)
    ]
    for size in SIZES:
        lines += [
            _ratio(results, OURS, "straightforward", size, AGAINST_STRAIGHTFORWARD[size]),
            _ratio(results, OURS, "bare Tornado", size, AGAINST_BARE),
        ]
    for size in SIZES:
        bare, ours = (results.processor_us(name, size) for name in ("bare Tornado", OURS))
        lines += [
            line(f"processor time of a hit, {size.name}", ours, "µs"),
            line(f"processor time of bare Tornado over it, {size.name}", ratios(bare, ours), "×"),
        ]
    for size in SIZES:
        lines += _gzip_lines(results, size)
    for size in SIZES:
        against = ratios(results.rates(NOT_MODIFIED, size), results.rates(OURS, SMALL))
        lines.append(line(f"matching ETag (304), {size.name}, over a 7 KB hit", against, "×", AGAINST_SMALL_HIT))
    return lines


def _ratio(results: Results, what: str, other: str, size: Size, goal: Goal) -> Line:
    return line(f"GET hit over {other}, {size.name}", results.ratio(what, other, size), "×", goal)


def _gzip_lines(results: Results, size: Size) -> list[Line]:
    names = f"gzip over {COMPRESSED_SIZE}, {size.name}", f"gzip over plain of the same body, {size.name}"
    if not results.compressed[size]:
        return [not_measured(name, "×", "answered plain although gzip was asked for") for name in names]
    return [
        line(names[0], results.ratio(GZIP, COMPRESSED_SIZE, size), "×", AGAINST_COMPRESSED_SIZE),
        line(names[1], results.ratio(GZIP, OURS, size), "×", AGAINST_PLAIN),
    ]


def _latency_lines(latencies: dict[str, list[Latency]]) -> list[Line]:
    return [
        line(f"open loop, {MEDIUM.name} at {OPEN_LOOP_RATE:g}/s, {what}: {name}", values, "ms")
        for name, found in latencies.items()
        for what, values in (("p50", [one.p50 for one in found]), ("p99", [one.p99 for one in found]))
    ]
