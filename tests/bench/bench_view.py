"""What ``tracekit view`` takes: a process of its own, spans sent over loopback.

    python tests/bench/bench_view.py [--spans 100000]

The sender repeats ready-made messages, so that its own work is small. The figure is spans taken by
a second of the receiving process' CPU time, which other programs on the machine do not disturb,
beside what was lost. Then the time to start, the memory of an idle one, and of 100 000 spans.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import urllib3
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

sys.path.insert(0, str(Path(__file__).parents[1] / "local"))
from jaeger_batches import Batch, datagram
from jaeger_client.thrift_gen.jaeger import ttypes as jaeger

HTTP = urllib3.PoolManager()
TAGS = {
    "http.method": "GET",
    "http.url": "http://shop.example/dispatch?customer=123",
    "net.peer.ip": "10.1.2.3",
    "http.flavor": "1.1",
    "user": "alice",
    "span.kind": "server",
}
MESSAGES = 100


class View:
    """The command in a process of its own."""

    def __init__(self) -> None:
        started = time.perf_counter()
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tracekit._cli.main", "view"),
                *("--quiet", "--port-offset", "free", "--max-memory", "2000"),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ports = {}
        for line in self._process.stdout:
            if found := re.match(r" +(\d+)/\w+  (.*)\n", line):
                self.ports[found[2]] = int(found[1])
            if "Ctrl-C" in line:
                break
        self.start_s = time.perf_counter() - started

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mb(self) -> float:
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024

    def spans(self) -> int:
        port = self.ports["the page and Jaeger's query API"]
        return HTTP.request("GET", f"http://127.0.0.1:{port}/view/state").json()["spans"]

    def settled(self, wanted: int) -> int:
        before = -1
        while (now := self.spans()) != before and now < wanted:
            before = now
            time.sleep(1)
        return now

    def end(self) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._process.stdout.close()


def datagrams(spans: int) -> list[bytes]:
    """Return datagrams as full as clients make them: about 130 spans of 8 tags and a log each."""
    made = []
    for _ in range(MESSAGES):
        batch = [
            jaeger.Span(
                traceIdLow=random.getrandbits(62),
                traceIdHigh=random.getrandbits(62),
                spanId=random.getrandbits(62),
                parentSpanId=random.getrandbits(62),
                operationName="GET /dispatch",
                flags=1,
                startTime=time.time_ns() // 1000,
                duration=1234,
                tags=[
                    *(jaeger.Tag(key=key, vType=0, vStr=value) for key, value in TAGS.items()),
                    jaeger.Tag(key="http.status_code", vType=3, vLong=200),
                    jaeger.Tag(key="cached", vType=2, vBool=True),
                ],
                logs=[
                    jaeger.Log(
                        timestamp=time.time_ns() // 1000,
                        fields=[jaeger.Tag(key="event", vType=0, vStr="asked redis")],
                    )
                ],
            )
            for _ in range(spans)
        ]
        made.append(datagram(Batch(process=jaeger.Process(serviceName="shop"), spans=batch)))
    return made


def requests(spans: int) -> list[bytes]:
    """Return OTLP requests of as many spans, with the same attributes and an event each."""
    made = []
    for _ in range(MESSAGES):
        request = ExportTraceServiceRequest()
        resource = request.resource_spans.add()
        resource.resource.attributes.add(key="service.name").value.string_value = "shop"
        scope = resource.scope_spans.add()
        scope.scope.name = "bench"
        for _ in range(spans):
            span = scope.spans.add(
                trace_id=random.randbytes(16),
                span_id=random.randbytes(8),
                parent_span_id=random.randbytes(8),
                name="GET /dispatch",
                kind=2,
                start_time_unix_nano=time.time_ns(),
                end_time_unix_nano=time.time_ns() + 1_234_000,
            )
            for key, value in TAGS.items():
                span.attributes.add(key=key).value.string_value = value
            span.attributes.add(key="http.status_code").value.int_value = 200
            span.attributes.add(key="cached").value.bool_value = True
            span.events.add(name="asked redis", time_unix_nano=time.time_ns())
        made.append(request.SerializeToString())
    return made


def by_udp(view: View, total: int, rate: int) -> None:
    """Send datagrams at ``rate`` spans a second."""
    per_message = 130
    messages = datagrams(per_message)
    address = "127.0.0.1", view.ports["Jaeger's compact Thrift"]
    before, cpu, began = view.spans(), view.cpu_s(), time.perf_counter()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in range(total // per_message):
            early = began + number * per_message / rate - time.perf_counter()
            if early > 0:
                time.sleep(early)
            sender.sendto(messages[number % MESSAGES], address)
    sent = total // per_message * per_message
    took = time.perf_counter() - began
    report(
        "UDP, compact Thrift", sent, view.settled(before + sent) - before, took, view.cpu_s() - cpu
    )


def by_http(view: View, total: int) -> None:
    """Send requests of 512 spans, one after the other."""
    per_message = 512
    messages = requests(per_message)
    url = f"http://127.0.0.1:{view.ports['OTLP over HTTP']}/v1/traces"
    headers = {"Content-Type": "application/x-protobuf"}
    before, cpu, began = view.spans(), view.cpu_s(), time.perf_counter()
    for number in range(total // per_message):
        HTTP.request("POST", url, body=messages[number % MESSAGES], headers=headers)
    sent = total // per_message * per_message
    took = time.perf_counter() - began
    report("OTLP over HTTP", sent, view.settled(before + sent) - before, took, view.cpu_s() - cpu)


def report(wire: str, sent: int, taken: int, took_s: float, cpu_s: float) -> None:
    print(
        f"{wire:<22}{taken / cpu_s:>9,.0f} spans by a second of CPU time;"
        f" {sent / took_s:,.0f}/s sent, {sent - taken} of {sent} lost"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--spans", type=int, default=200_000)
    parser.add_argument("--rate", type=int, default=25_000, help="spans a second over UDP")
    options = parser.parse_args()
    starts = []
    for _ in range(5):
        view = View()
        starts.append(view.start_s)
        view.end()
    print(f"start                 {sorted(starts)[2]:>9.2f} s, the median of five")
    view = View()
    time.sleep(1)
    print(f"idle                  {view.memory_mb():>9.0f} MB")
    by_http(view, 100_000)
    print(f"with 100 000 spans    {view.memory_mb():>9.0f} MB")
    by_http(view, options.spans)
    by_udp(view, options.spans, options.rate)
    view.end()


if __name__ == "__main__":
    main()
