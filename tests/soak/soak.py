"""Minutes of steady tracing while the agent comes and goes: memory stays flat, the law holds.

Run ``make soak``, or ``python tests/soak/soak.py --seconds 60`` for a short one. The program that
is watched ends 1000 spans a second; the agent is up for some seconds, away for some seconds.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import socket
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from accounting import law
from memory import resident_bytes
from ports import free_port

import tracekit

RATE = 1_000
BURSTS = 50
"""A second's spans come in so many bursts."""
REPORT_S = 10.0
WARM_UP = 0.15
"""The share of the run after which memory is taken as settled."""


class Agent:
    """A UDP port in this process that is there and not there by turns; it reads and forgets."""

    def __init__(self):
        self.port = free_port(socket.SOCK_DGRAM)
        self._socket = None
        self._until_s = 0.0
        self.restarts = 0
        self.datagrams = 0
        self._random = random.Random(1)

    def come_or_go(self, now_s):
        if now_s >= self._until_s:
            self._until_s = now_s + self._random.uniform(1.0, 8.0)
            if self._socket is None:
                self.open()
            else:
                self.read()
                self._socket.close()
                self._socket = None
        self.read()

    def open(self):
        if self._socket is None:
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
            self._socket.bind(("127.0.0.1", self.port))
            self.restarts += 1

    def read(self):
        while self._socket is not None:
            try:
                self._socket.recv(65_536)
            except BlockingIOError:
                return
            self.datagrams += 1


def burst(tracer, number, count):
    done = 0
    while done < count:
        with tracer.start_as_current_span("request", attributes={"order": number, "n": done}):
            for _ in range(4):
                with tracer.start_as_current_span("step") as span:
                    span.set_attribute("http.url", f"https://shop.example/order/{number}")
        done += 5


def soak(seconds):
    agent = Agent()
    tracing = tracekit.init(
        "soak",
        environ={},
        set_global=False,
        agent_host="127.0.0.1",
        agent_port=agent.port,
        sampler_type="const",
        sampler_param=1,
    )
    tracer = tracing.tracer("soak")
    began = time.monotonic()
    number, memory, told_s = 0, [], 0.0
    while (age_s := time.monotonic() - began) < seconds:
        agent.come_or_go(age_s)
        if number < age_s * BURSTS:
            burst(tracer, number, RATE // BURSTS)
            number += 1
            continue
        if age_s - told_s >= min(REPORT_S, seconds / 20):
            told_s = age_s
            stats = law(tracing.stats())
            gc.collect()
            memory.append((age_s, resident_bytes()))
            print(f"{age_s:6.0f} s  {memory[-1][1] / 1e6:7.2f} MB  {stats.finished} spans, "
                  f"{stats.sent} sent, {stats.queued} queued", flush=True)  # fmt: skip
        time.sleep(0.002)
    agent.open()
    end = time.monotonic() + 10.0
    while not (done := tracing.flush(0.1)) and time.monotonic() < end:
        agent.read()
    agent.read()
    stats = law(tracing.stats())
    settled = [size for age_s, size in memory if age_s >= seconds * WARM_UP]
    third = max(1, len(settled) // 3)
    drift = sum(settled[-third:]) / third - sum(settled[:third]) / third
    tracing.shutdown()
    return {
        "seconds": round(seconds),
        "spans": stats.finished,
        "spans a second": round(stats.finished / seconds),
        "agent starts": agent.restarts,
        "sent": stats.sent,
        "dropped": sum(stats.dropped.values()),
        "left": done.left,
        "datagrams refused and sent again": stats.retries,
        "memory drift MB (last third less first third)": round(drift / 1e6, 2),
        "memory spread MB": round((max(settled) - min(settled)) / 1e6, 2),
        "law": "kept",
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    result = soak(parser.parse_args().seconds)
    print(json.dumps(result))
    drift = abs(result["memory drift MB (last third less first third)"])
    sys.exit(0 if drift <= 2.0 and not result["left"] else 1)


if __name__ == "__main__":
    main()
