"""One measurement: ``python measure.py SIDE CELL PORTS``, in the environment of the side's peer.

It prints JSON: ``figures`` by name, ``spans`` that the sink must have got, and when it ``began``
(monotonic seconds). A *side* is a class in ``sides/`` that knows one peer:

=====================  ====================================================================
``trace(n)``           one trace: a root and n - 1 children, each current, three attributes
``live(n)``            n unended spans with three attributes
``queued()``           spans that wait, where the peer can tell
``flush(timeout_s)``   hand over everything that has ended
``encoders()``         how many spans, and by format: encode all of them
``propagators()``      by format: extract(carrier), inject()
``flask grpc_server``  put the peer's instrumentation around what it is given
``grpc_channel …``     (``aio_server``, ``aio_channel``: the same for ``grpc.aio``)
=====================  ====================================================================
"""

from __future__ import annotations

import functools
import gc
import importlib.util
import io
import json
import logging
import os
import statistics
import sys
import time
from pathlib import Path

import growth
import rpc
from pairs import beside, timed

SPANS = 25
"""Of one trace."""
TRACE, SPAN = "80f198ee56343ba864fe8b2a57d3eff7", "e457b5a2e4d86bd1"
CARRIERS = {
    "jaeger": {"uber-trace-id": f"{TRACE}:{SPAN}:0:1"},
    "b3": {"x-b3-traceid": TRACE, "x-b3-spanid": SPAN, "x-b3-sampled": "1"},
    "b3single": {"b3": f"{TRACE}-{SPAN}-1"},
    "w3c": {"traceparent": f"00-{TRACE}-{SPAN}-01"},
}


class Run:
    """What one measurement works with: makes its side, counts what it makes."""

    def __init__(self, name, ports):
        self.name, self._ports = name, ports
        self.spans = 0
        self.began = time.monotonic()

    def side(self, **options):
        peer = self.name if self.name in ("jaeger-client", "py_zipkin") else self.name.split("-")[0]
        path = Path(__file__).parent / "sides" / f"{peer.replace('-', '_')}.py"
        spec = importlib.util.spec_from_file_location("side", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self._side = module.Side(self.name, self._ports, **options)
        return self._side

    def traces(self, count):
        trace = self._side.trace
        for _ in range(count):
            trace(SPANS)
        self.spans += count * SPANS

    def close(self):
        """Hand over what is left."""
        self._side.flush()


def caller(run, **options):
    """Wall time on the caller's thread, bursts of ten traces flushed off the clock."""
    side = run.side(queue=10_000, **options)
    bursts = []
    for _ in range(14):
        gc.collect()
        began = time.perf_counter_ns()
        run.traces(10)
        bursts.append((time.perf_counter_ns() - began) / 10 / SPANS / 1000)
        side.flush()
    return {"us": statistics.median(bursts[2:])}


def child(run):
    return caller(run)


def unsampled(run):
    figures = caller(run, sampled=False)
    run.spans = 0
    return figures


def kept(run):
    """Wall time on the caller's thread: sampled, recorded by ``keep`` and discarded, unsampled."""
    side = run.side(queue=10_000)
    bursts = {name: [] for name in side.kinds()}
    for _ in range(14):
        for name, spent in bursts.items():
            side.use(name)
            gc.collect()
            began = time.perf_counter_ns()
            run.traces(10)
            spent.append((time.perf_counter_ns() - began) / 10 / SPANS / 1000)
            side.flush()
    figures = {name: statistics.median(spent[2:]) for name, spent in bursts.items()}
    return {**figures, "ratio": figures["kept"] / figures["sampled"]}


def disabled(run):
    figures = caller(run, disabled=True)
    run.spans = 0
    return figures


def cpu(run):
    """CPU of the process at 5,000 spans a second, until everything is handed over.

    Every queue holds 10,000, because the 100 of one peer would not do.
    """
    run.side(queue=10_000)
    run.traces(20)
    time.sleep(0.05)
    before, spent, begun = run.spans, time.process_time(), time.monotonic()
    for tick in range(50):
        run.traces(4)
        time.sleep(max(0.0, begun + (tick + 1) * 0.02 - time.monotonic()))
    run.close()
    return {"us": (time.process_time() - spent) / (run.spans - before) * 1e6}


def rate(run):
    """Spans as fast as they are taken away, for a second, with a queue of 10,000."""
    side = run.side(queue=10_000)
    run.traces(4)
    side.flush()
    run.began = time.monotonic()
    before = run.spans
    while time.monotonic() < run.began + 1.0:
        run.traces(4)
        while side.queued() > 5_000:
            time.sleep(0.001)
    run.close()
    return {"counted": run.spans - before}  # the driver knows when the last one arrived


def burst(run):
    """200,000 spans without a pause, into a queue that holds them; ten seconds for everything."""
    side = run.side(queue=250_000)
    run.traces(4)
    side.flush()
    run.began = time.monotonic()
    end = run.began + 10.0
    for _ in range(200_000 // SPANS):
        run.traces(1)
        if time.monotonic() > end:
            break
    caller_s = time.monotonic() - run.began
    side.flush(max(0.1, end - time.monotonic()))
    run.spans = 200_000 + 4 * SPANS  # those that were not even made in time are missing, too
    return {"caller s": caller_s, "counted": 200_000}


def encode(run):
    """CPU of the encoding thread a span, by format."""
    run.side()
    count, formats = run._side.encoders()
    figures = {}
    for name, call in formats.items():
        times = []
        for _ in range(8):
            gc.collect()
            began = time.thread_time_ns()
            call()
            times.append((time.thread_time_ns() - began) / count / 1000)
        figures[name] = statistics.median(times[1:])
    return figures


def propagation(run):
    """Extract and inject, by format."""
    figures = {}
    for name, (extract, inject) in run.side().propagators().items():
        reading = functools.partial(extract, CARRIERS[name])
        for verb, call in (("extract", reading), ("inject", inject)):
            if call:
                figures[f"{name} {verb}"] = timed(call, 2_000, rounds=7)
    return figures


# --- web ---

ENVIRON = {
    "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/pulls/bob", "QUERY_STRING": "page=2",
    "SERVER_NAME": "localhost", "SERVER_PORT": "8080", "SERVER_PROTOCOL": "HTTP/1.1",
    "REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "localhost:8080", "HTTP_USER_AGENT": "bench",
    "HTTP_ACCEPT": "*/*", "wsgi.url_scheme": "http",
}  # fmt: skip


def flask(run, *, sampled=True):
    """Serve requests in process; the wall time on the caller, exports off the clock."""
    from flask import Flask  # noqa: PLC0415

    def app():
        made = Flask("bench")
        made.add_url_rule("/pulls/<user>", view_func=lambda user: user, endpoint="pulls")
        return made

    def serve(app):
        body = app({**ENVIRON, "wsgi.input": io.BytesIO()}, lambda *_: None)
        list(body)
        body.close()

    return around(run, "flask", app, serve, sampled=sampled)


def flask_unsampled(run):
    return flask(run, sampled=False)


def around(run, edge, make, use, *, sampled=True):
    """Measure ``use(make())`` bare and with the side's ``edge``."""
    side = run.side(sampled=sampled)
    instrument = getattr(side, edge)
    rounds, count = 14, 100 if edge == "flask" else 40
    bare, traced = make(), None

    def turns(first, second):
        return beside(lambda: use(first), lambda: use(second), side.flush, rounds, count)

    if edge in getattr(side, "patches_classes", ()):
        # All objects of the class will be traced, so the bare ones cannot take turns with them.
        alone = turns(bare, bare)["bare"]
        instrument(bare)
        traced = make()
        figures = {"bare": alone, "added": turns(traced, traced)["bare"] - alone}
        calls = 2 * rounds * count
    else:
        traced = make()
        instrument(traced)
        figures = turns(bare, traced)
        calls = rounds * count
    run.spans = calls if sampled and run.name != "bare" else 0
    return figures


def requests(run):
    """Call through a session whose adapter answers by itself: no socket, no server."""
    import requests as lib  # noqa: PLC0415
    from requests.adapters import BaseAdapter  # noqa: PLC0415

    class Answer(BaseAdapter):
        def send(self, request, **_options):
            response = lib.Response()
            response.status_code, response.url, response.request = 200, request.url, request
            response.raw = io.BytesIO(b"")
            return response

        def close(self):
            pass

    def session():
        made = lib.Session()
        made.trust_env = False
        made.mount("http://", Answer())
        return made

    return around(run, "requests", session, lambda made: made.get("http://shop/pulls/bob"))


def log(run):
    """Log a record with the ids of the current span, to a stream that forgets."""
    side = run.side()
    logging.disable(logging.NOTSET)
    logger = logging.getLogger("bench")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    handler = logging.StreamHandler(io.StringIO())
    logger.addHandler(handler)

    def write():
        handler.stream.seek(0)
        logger.info("order %d", 392)

    bare = timed(write, 500, rounds=7)
    side.logging()
    if run.name == "bare":
        return {"bare": bare, "added": timed(write, 500, rounds=7) - bare}
    start = getattr(side.tracer, "start_as_current_span", None) or side.tracer.trace
    with start("work"):
        figures = {"bare": bare, "added": timed(write, 500, rounds=7) - bare}
    run.spans = 1
    return figures


# --- start and memory ---


def resident():
    """Return the bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def start(run):
    """Import and init, and what the process then holds; after a first trace, too."""
    before, began = resident(), time.perf_counter()
    side = run.side()
    ms = (time.perf_counter() - began) * 1000
    rest = resident() - before
    run.traces(1)
    side.flush()
    return {"ms": ms, "MiB": rest / 2**20}


def live(run):
    """Memory of a live span with three attributes."""
    side = run.side()
    kept = [side.live(1000)]
    gc.collect()
    before = resident()
    kept.append(side.live(20_000))
    return {"bytes": (resident() - before) / 20_000}


CELLS = {
    cell.__name__.replace("_", "-"): cell
    for cell in (child, cpu, unsampled, kept, disabled, encode, burst, rate, propagation, flask,
                 flask_unsampled, *rpc.CELLS, requests, log, start, live, growth.scale)
}  # fmt: skip
UNCOUNTED = ("kept", "encode", "propagation", "live")


def main():
    name, cell, ports = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    if hasattr(os, "sched_setaffinity"):  # the sink has the other end
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    run = Run(name, ports)
    figures = CELLS[cell](run)
    if cell not in ("burst", *UNCOUNTED):
        run.close()
    spans = None if cell in UNCOUNTED else run.spans
    print(json.dumps({"figures": figures, "spans": spans, "began": run.began}), flush=True)
    os._exit(0)  # some peers' threads never end


if __name__ == "__main__":
    main()
