"""A fleet on a fake clock: 10 000 processes, an agent a node that restarts, adaptive sampling.

Run ``make fleet``, or ``python tests/soak/fleet.py --processes 1000`` for a small one. Each process
has the pipeline's own engines: ``Reporter`` with the compact encoder, ``RemoteSampler`` and its
``Poller``. Only the clock, the network, the agents and the sampling server are simulated. The same
seed gives the same figures, whatever machine runs it.

Two fleets live through the same: in one the kernel refuses datagrams while an agent is away
(a sidecar, an agent on the host's network), in the other nobody tells (a host port, a Service).
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import multiprocessing
import random
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from accounting import law

from tracekit._protocols import SendResult
from tracekit.encoding import jaeger_compact
from tracekit.reporting import Reporter
from tracekit.sampling._poller import Poller
from tracekit.sampling._remote import RemoteSampler
from tracekit.sampling._strategy import parse_strategy
from tracekit.testing import FakeClock, tracing
from tracekit.transport._udp import MAX_PACKET_BYTES, MAX_PAUSE_S

SECONDS = 300
TICKS = 10
"""A second is cut into so many: a process' worker wakes in one of them."""
OPERATIONS = ("GET /", "GET /cart", "POST /order", "GET /search")
SPANS = 2
"""Spans of a process in one trace."""
TARGET = 1_500.0
"""Traces a second that the adaptive server wants of 10 000 processes."""
LOWER_BOUND = 1 / 60
"""Traces a second that each process samples of each operation in any case (Jaeger's default)."""
POLL_S, CALCULATE_S = 60.0, 30.0
AWAY_S = 5
"""How long one agent's restart takes; a tenth of them restarts at a time."""
RESTART_S, RUSH_S, OUTAGE_S, OUTAGE_END_S = 60, 130, 200, 230


class Agent:
    """The agent of a node: there or away, and counting what it gets."""

    def __init__(self, number, nodes):
        wave = number * 10 // nodes
        self._away = (RESTART_S + wave * AWAY_S, RESTART_S + (wave + 1) * AWAY_S)
        self.received = 0

    def is_away(self, now_s):
        first, last = self._away
        return first <= now_s < last or OUTAGE_S <= now_s < OUTAGE_END_S


class Wire:
    """The transport of one process: as UDP behaves when the kernel tells, or when nobody does."""

    max_bytes = MAX_PACKET_BYTES
    max_retry_s = None

    def __init__(self, agent, clock, *, told):
        self._agent, self._clock, self._told = agent, clock, told
        self.vanished = 0

    def send(self, payload, deadline):
        if not self._agent.is_away(self._clock()):
            self._agent.received += len(payload.frames)
        elif self._told:
            return SendResult.retry("the agent refuses datagrams", max_pause_s=MAX_PAUSE_S)
        else:
            self.vanished += len(payload.frames)
        return SendResult.sent()

    def close(self):
        pass


class Server:
    """Jaeger's adaptive sampling: each operation's rate follows what arrived in the last while."""

    name = "the simulated server"

    def __init__(self, target):
        self._target = target / len(OPERATIONS)
        self._seen = Counter()
        self.rates = dict.fromkeys(OPERATIONS, 0.01)
        self._tell()

    def _tell(self):
        self._answer = json.dumps(
            {
                "strategyType": "PROBABILISTIC",
                "operationSampling": {
                    "defaultSamplingProbability": 0.01,
                    "defaultLowerBoundTracesPerSecond": LOWER_BOUND,
                    "perOperationStrategies": [
                        {"operation": name, "probabilisticSampling": {"samplingRate": rate}}
                        for name, rate in self.rates.items()
                    ],
                },
            }
        ).encode()

    def note(self, operation):
        self._seen[operation] += 1

    def calculate(self):
        for name in OPERATIONS:
            found = self._seen[name] / CALCULATE_S
            wanted = self.rates[name] * self._target / found if found else 1.0
            # No more than half as much again at a time, as Jaeger does it.
            self.rates[name] = min(1.0, max(1e-5, min(wanted, self.rates[name] * 1.5)))
        self._seen.clear()
        self._tell()

    def fetch(self):
        return self._answer

    def parse(self, answer):
        return parse_strategy(answer)

    def abort(self):
        pass


class Worker:
    """In the place of the pipeline's thread: the simulation does its work."""

    ident = None

    def is_alive(self):
        return True

    def join(self, timeout=None):
        pass


class Process:
    """One service's process: its sampler, its poller, its pipeline, and when it wakes."""

    def __init__(self, agent, server, clock, chance, *, told):
        self.wire = Wire(agent, clock, told=told)
        self.sampler = RemoteSampler(clock=clock)
        self.poller = Poller(
            self.sampler, server, interval_s=POLL_S, clock=clock, uniform=chance.uniform
        )
        self.sampler.feed = None  # no thread: the simulation polls
        self.poll_s = clock() + chance.uniform(0.0, 0.9)
        self.pipeline = None
        self.reporter = Reporter(
            jaeger_compact(), lambda: self.wire, spawn=self._spawn, wait=clock.wait, clock=clock
        )

    def _spawn(self, pipeline):
        self.pipeline = pipeline
        return Worker()

    def work(self):
        return self.pipeline.work(partial=True) if self.pipeline is not None else None


class Second(NamedTuple):
    """What one second of a fleet looked like."""

    made: int
    arrived: int
    queued: int
    vanished: int
    rate: float


class Fleet:
    """Processes on nodes, and what becomes of their spans, second by second."""

    def __init__(self, processes, *, told, seed=1):
        self.clock = FakeClock(0.0)
        self._chance = random.Random(seed)
        nodes = max(10, processes // 20)
        self.agents = [Agent(number, nodes) for number in range(nodes)]
        self.server = Server(TARGET * processes / 10_000)
        self.processes = [
            Process(self.agents[n % nodes], self.server, self.clock, self._chance, told=told)
            for n in range(processes)
        ]
        self._span = self._example()
        self._made = 0
        self._due = {}

    @staticmethod
    def _example():
        tracer = tracing().tracer("fleet")
        with tracer.start_as_current_span("SELECT") as span:
            span.set_attributes({"db.system": "postgresql", "rows": 12, "cache": False})
        return span

    def run(self, seconds=SECONDS):
        """Return a row for each second."""
        rows, before = [], (0, 0, 0)
        for second in range(seconds):
            if second and second % CALCULATE_S == 0:
                self.server.calculate()
            for tick in range(TICKS):
                self._tick(second, tick)
                self.clock.now = second + (tick + 1) / TICKS
            arrived = sum(agent.received for agent in self.agents)
            vanished = sum(process.wire.vanished for process in self.processes)
            now = (self._made, arrived, vanished)
            rows.append(
                Second(
                    now[0] - before[0],
                    now[1] - before[1],
                    now[0] - now[1] - now[2],
                    now[2] - before[2],
                    self.server.rates[OPERATIONS[0]],
                )
            )
            before = now
        return rows

    def _tick(self, second, tick):
        now, chance = self.clock(), self._chance
        limit = math.exp(-3.0 if second >= RUSH_S else -1.0)
        for process in self.processes[tick::TICKS]:
            if now >= process.poll_s:
                process.poller.poll()
                process.poll_s = now + POLL_S * chance.uniform(0.85, 0.95)
            for _ in range(_poisson(chance, limit)):
                name = OPERATIONS[int(chance.random() * len(OPERATIONS))]
                if process.sampler.decide(chance.getrandbits(64), name).decision.is_sampled():
                    self.server.note(name)
                    for _ in range(SPANS):
                        process.reporter.report(self._span)
                    self._made += SPANS
                    self._due.setdefault(process, now)
        for process, due in list(self._due.items()):
            if due <= now:
                again = process.work()
                if again is None:
                    del self._due[process]
                else:
                    self._due[process] = again

    def account(self):
        """Return what became of all spans; AssertionError where the law does not hold."""
        total = Counter()
        for process in self.processes:
            stats = process.reporter.stats()
            lost = sum(law(stats).dropped.values())
            total.update(made=stats.finished, waiting=stats.queued + stats.in_flight, dropped=lost)
        total["arrived"] = sum(agent.received for agent in self.agents)
        total["vanished"] = sum(process.wire.vanished for process in self.processes)
        assert total["made"] == sum(
            total[key] for key in ("arrived", "waiting", "dropped", "vanished")
        )
        return dict(total)


def _poisson(chance, limit):
    """Return a count of mean ``-log(limit)``."""
    count, product = 0, chance.random()
    while product > limit:
        count += 1
        product *= chance.random()
    return count


def lived(processes, told):
    """Return the account and the rows of a fleet."""
    logging.disable(logging.WARNING)  # two lines of each process, as in a real fleet
    fleet = Fleet(processes, told=told)
    rows = fleet.run()
    return fleet.account(), rows


# --- what is shown ---

WIDTH, HEIGHT, LEFT = 640, 110, 70
STYLE = (
    "text{font:12px sans-serif;fill:#555}polyline{fill:none;stroke-width:1.5}"
    "rect{fill:#888;opacity:.15}@media(prefers-color-scheme:dark){text{fill:#bbb}}"
)


def plot(told, untold):
    """Return the picture: rates, queues and losses of both fleets over time."""
    panels = (
        ("spans made a second", [([row.made for row in told], "#00897b")]),
        (
            "spans arrived a second: told (green), not told (red)",
            [
                ([row.arrived for row in told], "#00897b"),
                ([row.arrived for row in untold], "#c62828"),
            ],
        ),
        ("spans waiting, told", [([row.queued for row in told], "#00897b")]),
        ("spans lost a second, not told", [([row.vanished for row in untold], "#c62828")]),
        ("sampling rate that the server gives", [([row.rate for row in told], "#5e35b1")]),
    )
    height = len(panels) * (HEIGHT + 40) + 30
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 20} {height}" '
        f'role="img"><title>A fleet whose agents restart</title><style>{STYLE}</style>'
    )
    out = [head]
    for number, (title, lines) in enumerate(panels):
        out += _panel(number * (HEIGHT + 40) + 24, title, lines)
    out.append(
        f'<text x="{LEFT}" y="{height - 8}">seconds 0 to {len(told)}; grey: agents restart, '
        "traffic triples, all agents are away</text></svg>"
    )
    return "\n".join(out) + "\n"


def _panel(top, title, lines):
    most = max(max(values) for values, _ in lines) or 1
    seconds = len(lines[0][0])
    yield f'<text x="{LEFT}" y="{top - 6}">{title}</text>'
    for first, last in (
        (RESTART_S, RESTART_S + 10 * AWAY_S),
        (RUSH_S, RUSH_S + 1),
        (OUTAGE_S, OUTAGE_END_S),
    ):
        x, width = LEFT + first * WIDTH / seconds, (last - first) * WIDTH / seconds
        yield f'<rect x="{x:.1f}" y="{top}" width="{width:.1f}" height="{HEIGHT}"/>'
    yield f'<text x="{LEFT - 6}" y="{top + 10}" text-anchor="end">{most:,.4g}</text>'
    yield f'<text x="{LEFT - 6}" y="{top + HEIGHT}" text-anchor="end">0</text>'
    for values, colour in lines:
        points = " ".join(
            f"{LEFT + second * WIDTH / seconds:.1f},{top + HEIGHT * (1 - value / most):.1f}"
            for second, value in enumerate(values)
        )
        yield f'<polyline points="{points}" stroke="{colour}"/>'


def table(account, rows):
    """Return the figures of one fleet as cells."""
    recovered = next(
        (
            second
            for second in range(OUTAGE_END_S, len(rows))
            if rows[second].queued <= rows[OUTAGE_S - 1].queued * 1.5
        ),
        len(rows),
    )
    return (
        f"{account['made']:,}",
        f"{account['arrived']:,}",
        f"{account['vanished']:,} ({account['vanished'] / account['made']:.2%})",
        f"{account['dropped']:,}",
        f"{max(row.queued for row in rows):,}",
        f"{recovered - OUTAGE_END_S} s",
    )


HEAD = (
    "while an agent is away",
    "spans made",
    "arrived",
    "lost, unseen",
    "dropped, counted",
    "most that waited",
    "back to normal after",
)


def main():
    """Run both fleets, print the table, write the picture."""
    parser = argparse.ArgumentParser(description="Two fleets whose agents restart.")
    parser.add_argument("--processes", type=int, default=10_000)
    parser.add_argument("--svg", type=Path, help="write the picture there")
    options = parser.parse_args()
    with multiprocessing.Pool(2) as pool:
        told, untold = pool.starmap(lived, [(options.processes, True), (options.processes, False)])
    lines = [HEAD, ("---", *["---:"] * (len(HEAD) - 1))]
    lines += [("the kernel tells", *table(*told)), ("nobody tells", *table(*untold))]
    sys.stdout.writelines(f"| {' | '.join(cells)} |\n" for cells in lines)
    if options.svg:
        options.svg.write_text(plot(told[1], untold[1]), encoding="utf-8")


if __name__ == "__main__":
    main()
