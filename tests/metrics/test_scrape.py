"""The example service, scraped as Prometheus would: under load, drops and failures."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import urllib3
from prometheus_client.parser import text_string_to_metric_families
from waiting import eventually, until_said

from tracekit.local import Receiver, SamplingServer

HERE = Path(__file__).parent
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


class Collector(ThreadingHTTPServer):
    """A collector that answers with ``status``; while ``held`` it does not answer at all."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Answers)
        self.status = 202
        self.open = threading.Event()
        self.open.set()
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()


class _Answers(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.open.wait(30)
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def collector():
    server = Collector()
    yield server
    server.open.set()
    server.shutdown()
    server.server_close()


class Service:
    """A started service: what it says, and its figures from both places."""

    def __init__(self, address):
        self._base = f"http://{address}"
        self._pool = urllib3.PoolManager(maxsize=8)

    def get(self, path, **headers):
        return self._pool.request("GET", self._base + path, headers=headers, retries=False)

    def stats(self):
        return json.loads(self.get("/live").data)

    def scrape(self, path="/metrics"):
        """Return Jaeger's and tracekit's series: name and labels, sorted by their names."""
        text = self.get(path).data.decode()
        return {
            (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name.startswith(("jaeger_", "tracekit_"))
        }


@contextmanager
def started(command, tmp_path, **variables):
    """Start a service and return where it listens."""
    output = tmp_path / "said.txt"
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("JAEGER_", "OTEL_"))}
    with (
        output.open("wb") as said,
        subprocess.Popen(
            command,
            cwd=HERE,
            env=environ | {"JAEGER_SERVICE_NAME": "shop"} | variables,
            stdout=said,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            pattern = r"[Ll]istening (?:on|at:) (?:http://)?(127\S+:\d+)"
            yield Service(until_said(pattern, output, process)[1])
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def settled(service, done):
    """Return a scrape between two equal readings of stats, once ``done(stats)``."""

    def quiet():
        before, samples, after = service.stats(), service.scrape(), service.stats()
        return (before, samples) if before == after and done(before) else None

    return eventually(quiet, told=service.stats, every_s=0.05)


def assert_same(stats, samples):
    """Every figure of stats stands in the scrape, and the other way round."""
    dropped = stats["dropped"]
    lost_on_the_way = sum(dropped.values()) - dropped["queue_full"] - dropped["shutdown"]
    sampler = stats["sampler"]
    expected = {
        ("jaeger_tracer_started_spans_total", "y"): stats["started"],
        ("jaeger_tracer_started_spans_total", "n"): stats["unsampled"],
        ("jaeger_tracer_finished_spans_total", "y"): stats["finished"],
        ("jaeger_tracer_reporter_spans_total", "ok"): stats["sent"],
        ("jaeger_tracer_reporter_spans_total", "err"): lost_on_the_way,
        ("jaeger_tracer_reporter_spans_total", "dropped"): (
            dropped["queue_full"] + dropped["shutdown"]
        ),
        ("jaeger_tracer_reporter_queue_length",): stats["queued"],
        ("jaeger_tracer_sampler_queries_total", "ok"): sampler.get("queries_ok", 0),
        ("jaeger_tracer_sampler_queries_total", "err"): sampler.get("queries_err", 0),
        ("jaeger_tracer_sampler_updates_total", "ok"): sampler.get("updates_ok", 0),
        ("jaeger_tracer_sampler_updates_total", "err"): sampler.get("updates_err", 0),
        ("tracekit_spans_open",): stats["open"],
        ("tracekit_spans_in_flight",): stats["in_flight"],
        ("tracekit_spans_foreign_total",): stats["foreign"],
        ("tracekit_spans_resent_total",): stats["resent"],
        ("tracekit_reporter_payloads_total",): stats["payloads"],
        ("tracekit_reporter_sent_bytes_total",): stats["payload_bytes"],
        ("tracekit_reporter_retries_total",): stats["retries"],
    }
    expected |= {("tracekit_spans_dropped_total", why): n for why, n in dropped.items()}
    assert {name: samples[name] for name in expected} == expected


def assert_lawful(samples):
    """Check the law of accounting in what one scrape shows."""
    value = samples.__getitem__
    started = value(("jaeger_tracer_started_spans_total", "y"))
    finished = value(("jaeger_tracer_finished_spans_total", "y"))
    assert started == value(("tracekit_spans_open",)) + finished
    fates = [n for name, n in samples.items() if name[0] == "jaeger_tracer_reporter_spans_total"]
    waiting = ("jaeger_tracer_reporter_queue_length",), ("tracekit_spans_in_flight",)
    assert finished == sum(fates) + sum(map(value, waiting))


def test_a_scrape_is_what_stats_says(collector, tmp_path):
    """Each phase leaves its mark on the right series; in any scrape the law holds."""
    port = collector.server_address[1]
    with (
        started(
            [sys.executable, "served_shop.py"],
            tmp_path,
            JAEGER_SAMPLER_TYPE="const",
            JAEGER_SAMPLER_PARAM="1",
            JAEGER_ENDPOINT=f"http://127.0.0.1:{port}/api/traces",
            JAEGER_REPORTER_MAX_QUEUE_SIZE="40",
            JAEGER_REPORTER_FLUSH_INTERVAL="50ms",
            JAEGER_PROPAGATION="jaeger,b3",
            JAEGER_RPC_METRICS="true",
        ) as service,
        ThreadPoolExecutor(4) as clients,
    ):

        def load(number, path="/dispatch?customer=0", **headers):
            asked = [clients.submit(service.get, path, **headers) for _ in range(number)]
            while not all(each.done() for each in asked):
                assert_lawful(service.scrape())

        def delivered(stats):
            return stats["finished"] and not stats["queued"] + stats["in_flight"] + stats["open"]

        load(60)
        load(10, **{"uber-trace-id": "abc:def:0:1", "x-b3-traceid": "1" * 16, "x-b3-spanid": "2"})
        load(10, **{"uber-trace-id": "abc:def:0:0"})
        load(5, **{"uber-trace-id": "nonsense"})
        stats, samples = settled(service, delivered)
        assert_same(stats, samples)
        assert (stats["unsampled"], stats["started"]) == (10, 75)
        assert stats["sent"] + stats["dropped"]["queue_full"] == 75
        traces = "jaeger_tracer_traces_total"
        assert {name[1:]: n for name, n in samples.items() if name[0] == traces} == {
            ("y", "started"): 65,
            ("y", "joined"): 10,
            ("n", "started"): 0,
            ("n", "joined"): 10,
        }
        assert samples["jaeger_tracer_span_context_decoding_errors_total",] >= 5
        requests = "jaeger_rpc_requests_total", "jaeger", "GET-/dispatch", "false"
        assert samples[requests] == 85
        assert samples["jaeger_rpc_http_requests_total", "jaeger", "GET-/dispatch", "4xx"] == 85

        collector.status = 400
        load(20)
        stats, samples = settled(service, delivered)
        assert_same(stats, samples)
        assert stats["dropped"]["send_failed"] > 0

        collector.open.clear()
        load(150)
        stats, samples = settled(service, lambda stats: stats["dropped"]["queue_full"] > 0)
        assert_same(stats, samples)
        assert stats["queued"] > 0
        assert samples["jaeger_tracer_reporter_queue_length",] <= 40
        assert samples["tracekit_reporter_queue_capacity",] == 40


def test_a_remote_sampler_shows_its_queries(tmp_path):
    """Queries and updates are counted as the sampler counts them, and the strategy has an age."""
    with (
        SamplingServer() as server,
        Receiver() as receiver,
        started(
            [sys.executable, "served_shop.py"],
            tmp_path,
            JAEGER_SAMPLER_TYPE="remote",
            JAEGER_SAMPLING_ENDPOINT=server.endpoint,
            JAEGER_SAMPLER_REFRESH_INTERVAL="200ms",
            JAEGER_AGENT_PORT=str(receiver.port),
        ) as service,
    ):
        service.get("/dispatch?customer=0")
        eventually(lambda: service.stats()["sampler"]["updates_ok"], every_s=0.05)
        before = service.stats()["sampler"]
        samples, after = service.scrape(), service.stats()["sampler"]
        for what in ("queries", "updates"):
            shown = samples[f"jaeger_tracer_sampler_{what}_total", "ok"]
            assert 0 < before[f"{what}_ok"] <= shown <= after[f"{what}_ok"]
        assert samples["tracekit_sampler_strategy_age_seconds",] >= 0


def test_any_gunicorn_worker_shows_the_sum(tmp_path):
    """In prometheus_client's multiprocess mode a scrape adds up the workers."""
    figures = tmp_path / "figures"
    figures.mkdir()
    with (
        Receiver() as receiver,
        started(
            [
                *(sys.executable, "-m", "gunicorn", "served_shop:application"),
                *("--workers", "2", "--bind", "127.0.0.1:0", "--preload", "--log-level", "info"),
            ],
            tmp_path,
            JAEGER_SAMPLER_TYPE="const",
            JAEGER_SAMPLER_PARAM="1",
            JAEGER_AGENT_PORT=str(receiver.port),
            JAEGER_RPC_METRICS="true",
            PROMETHEUS_MULTIPROC_DIR=str(figures),
        ) as service,
    ):
        served, pids, deadline = 0, set(), time.monotonic() + 20
        while (len(pids) < 2 or served < 40) and time.monotonic() < deadline:
            # A connection a request, so that both workers get some.
            service.get("/dispatch?customer=0", Connection="close")
            served += 1
            pids.add(service.stats()["pid"])
        started_spans = ("jaeger_tracer_started_spans_total", "y")
        while time.monotonic() < deadline:
            samples = service.scrape("/ready")
            if samples.get(started_spans) == served:
                break
            time.sleep(0.1)
        assert len(pids) == 2
        assert samples[started_spans] == served
        endpoint = ("jaeger", "GET-/dispatch", "false")
        assert samples[("jaeger_rpc_requests_total", *endpoint)] == served
        assert samples[("jaeger_rpc_request_latency_count", *endpoint)] == served
        assert samples[("jaeger_rpc_request_latency_bucket", *endpoint, "+Inf")] == served
        assert samples["tracekit_reporter_queue_capacity",] in {20_000, 30_000}  # the master's, too


PROMTOOL = shutil.which("promtool")


@pytest.mark.skipif(PROMTOOL is None, reason="promtool (Debian: prometheus) is not installed")
def test_promtool_accepts_what_is_exposed(tmp_path):
    """Prometheus' own linter has no complaint about names, types and help."""
    with (
        Receiver() as receiver,
        started(
            [sys.executable, "served_shop.py"],
            tmp_path,
            JAEGER_SAMPLER_TYPE="const",
            JAEGER_SAMPLER_PARAM="1",
            JAEGER_AGENT_PORT=str(receiver.port),
            JAEGER_RPC_METRICS="true",
        ) as service,
    ):
        service.get("/dispatch?customer=0", **{"uber-trace-id": "nonsense"})
        text = service.get("/metrics").data
    checked = subprocess.run(
        [PROMTOOL, "check", "metrics"], input=text, capture_output=True, timeout=30, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
