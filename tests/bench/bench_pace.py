"""What a receiver with the default buffer misses at one pace of datagrams and another.

Run ``python tests/bench/bench_pace.py`` (``--pause-ms 2 1.5 --rounds 10``). The receiver is a
process of its own, which takes ``--each-ms`` for each datagram; the sender makes 75,000 spans
without a pause, by turns at each pace. On a machine with nothing else to do none are missed: run
it beside other work.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import time

import tracekit

_TRACES, _CHILDREN = 3_000, 24
_QUIET_S = 1.5


def receive(each_s: float) -> None:
    """Print the port, then how many datagrams came until none did for a moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(_QUIET_S)
        print(sock.getsockname()[1], flush=True)
        count = 0
        try:
            while sock.recv(65_536):
                count += 1
                until = time.perf_counter() + each_s
                while time.perf_counter() < until:
                    pass
        except TimeoutError:
            print(count)


def send(pause_ms: float, each_ms: float) -> tuple[int, int]:
    """Return how many datagrams were sent, and how many of them did not arrive."""
    command = [sys.executable, __file__, "--receive", "--each-ms", str(each_ms)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as receiver:
        port = int(receiver.stdout.readline())
        tracing = tracekit.init(
            "bench",
            environ={},
            set_global=False,
            sampler_type="const",
            sampler_param=1,
            transport="udp",
            agent_host="127.0.0.1",
            agent_port=port,
            queue_size=200_000,
            burst_pause_s=pause_ms / 1000,
        )
        start = tracing.tracer("bench").start_as_current_span
        for _ in range(_TRACES):
            with start("root"):
                for _ in range(_CHILDREN):
                    with start("child") as span:
                        span.set_attribute("http.request.method", "GET")
                        span.set_attribute("http.response.status_code", 200)
        tracing.flush(30.0)
        sent = tracing.stats().payloads
        tracing.shutdown()
        return sent, sent - int(receiver.communicate()[0])


def main() -> None:
    """Print the sums of each pace."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--receive", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--each-ms", type=float, default=1.0)
    parser.add_argument("--pause-ms", type=float, nargs="+", default=[2.0, 1.5])
    parser.add_argument("--rounds", type=int, default=10)
    asked = parser.parse_args()
    if asked.receive:
        receive(asked.each_ms / 1000)
        return
    sums = {pause: [0, 0] for pause in asked.pause_ms}
    for _ in range(asked.rounds):
        for pause, each in sums.items():
            for at, number in enumerate(send(pause, asked.each_ms)):
                each[at] += number
    for pause, (sent, missed) in sums.items():
        print(f"{pause:g} ms between datagrams: {missed} of {sent} missed")


if __name__ == "__main__":
    main()
