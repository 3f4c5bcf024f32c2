"""What a client of httpx's or httpx2's is set up with, and how its requests end: as bare."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

import tracekit.httpx

PACKAGES = [httpx, pytest.importorskip("httpx2")]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/slow":
            self.server.over.wait(60)
        if self.path == "/endless":
            self.pieces()
            return
        status = {"/moved": 302, "/fails": 500}.get(self.path, 200)
        if self.path == "/private" and "Authorization" not in self.headers:
            status = 401
        body = b"" if self.command == "HEAD" else b"x" * 1000
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/there")
        if status == 401:
            self.send_header("WWW-Authenticate", 'Digest realm="r", nonce="n", qop="auth"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_HEAD(self):
        self.do_GET()

    def pieces(self):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(b"1\r\nx\r\n")
            while not self.server.over.wait(0.02):
                if self.server.trickles:
                    self.wfile.write(b"1\r\nx\r\n")
        self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.daemon_threads = True
    made.over = threading.Event()
    made.trickles = True
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.over.set()
    made.shutdown()
    thread.join()
    made.server_close()


class Sync:
    """Programs of a blocking client; ``made`` is what they set it up with."""

    def __init__(self, package, server):
        self.package, self.server = package, server
        self.url = f"http://127.0.0.1:{server.server_port}"

    def made(self, **options):
        options = {"base_url": self.url, "trust_env": False, "timeout": 60, **options}
        return self.package.Client(**options)

    def left_within(self):
        with self.made() as client, client.stream("GET", "/endless") as response:
            return next(response.iter_raw())

    def never_read(self):
        with self.made() as client:
            request = client.build_request("GET", "/endless")
            response = client.send(request, stream=True)
            status = response.status_code
            response.close()
            return status

    def failed_beside_it(self):
        with self.made() as client, client.stream("GET", "/endless"):
            raise KeyError("the program's own")

    def timed_out(self):
        with self.made(timeout=0.3) as client:
            client.get("/slow")

    def timed_out_while_it_read(self):
        self.server.trickles = False
        with self.made(timeout=0.3) as client, client.stream("GET", "/endless") as response:
            for _ in response.iter_raw():
                pass

    def no_connection_left(self):
        limits = self.package.Limits(max_connections=1)
        timeout = self.package.Timeout(60, pool=0.2)
        with (
            self.made(limits=limits, timeout=timeout) as client,
            client.stream("GET", "/endless"),
        ):
            client.get("/there")

    def refused_by_a_hook(self):
        hooks = {"response": [lambda response: response.raise_for_status()]}
        with self.made(event_hooks=hooks) as client:
            client.get("/fails")

    def refused_before(self):
        def refuse(_):
            raise KeyError("a hook's own")

        with self.made(event_hooks={"request": [refuse]}) as client:
            client.get("/there")

    def hooks_see(self):
        seen = []
        hooks = {
            "request": [lambda request: seen.append(sorted(request.headers))],
            "response": [lambda response: seen.append(sorted(response.request.headers))],
        }
        with self.made(event_hooks=hooks, follow_redirects=True) as client:
            response = client.get("/moved")
        return seen, [each.status_code for each in response.history], response.status_code

    def signed_in(self):
        with self.made(auth=self.package.DigestAuth("ada", "secret")) as client:
            response = client.get("/private")
            return response.status_code, [each.status_code for each in response.history]

    def too_many(self):
        with self.made(follow_redirects=True, max_redirects=0) as client:
            client.get("/moved")

    def mounted(self):
        answer = self.package.MockTransport(lambda _: self.package.Response(204))
        with self.made(mounts={"http://stock": answer}) as client:
            return client.get("http://stock/").status_code, client.head("/there").status_code

    def tried_again(self):
        transport = self.package.HTTPTransport(retries=2)
        with self.made(transport=transport) as client:
            client.get("http://127.0.0.1:9/")

    def no_address(self):
        with self.made(base_url="") as client:
            client.get("/relative")


class Async:
    """The same of a client of coroutines."""

    def __init__(self, package, server):
        self.package, self.server = package, server
        self.url = f"http://127.0.0.1:{server.server_port}"

    def made(self, **options):
        options = {"base_url": self.url, "trust_env": False, "timeout": 60, **options}
        return self.package.AsyncClient(**options)

    async def left_within(self):
        async with self.made() as client, client.stream("GET", "/endless") as response:
            pieces = response.aiter_raw()
            piece = await pieces.__anext__()
            await pieces.aclose()
            return piece

    async def never_read(self):
        async with self.made() as client:
            request = client.build_request("GET", "/endless")
            response = await client.send(request, stream=True)
            status = response.status_code
            await response.aclose()
            return status

    async def failed_beside_it(self):
        async with self.made() as client, client.stream("GET", "/endless"):
            raise KeyError("the program's own")

    async def timed_out(self):
        async with self.made(timeout=0.3) as client:
            await client.get("/slow")

    async def timed_out_while_it_read(self):
        self.server.trickles = False
        async with self.made(timeout=0.3) as client, client.stream("GET", "/endless") as response:
            async for _ in response.aiter_raw():
                pass

    async def no_connection_left(self):
        limits = self.package.Limits(max_connections=1)
        timeout = self.package.Timeout(60, pool=0.2)
        async with (
            self.made(limits=limits, timeout=timeout) as client,
            client.stream("GET", "/endless"),
        ):
            await client.get("/there")

    async def refused_by_a_hook(self):
        async def refuse(response):
            response.raise_for_status()

        async with self.made(event_hooks={"response": [refuse]}) as client:
            await client.get("/fails")

    async def refused_before(self):
        async def refuse(_):
            raise KeyError("a hook's own")

        async with self.made(event_hooks={"request": [refuse]}) as client:
            await client.get("/there")

    async def hooks_see(self):
        seen = []

        async def see_request(request):
            seen.append(sorted(request.headers))

        async def see_response(response):
            seen.append(sorted(response.request.headers))

        hooks = {"request": [see_request], "response": [see_response]}
        async with self.made(event_hooks=hooks, follow_redirects=True) as client:
            response = await client.get("/moved")
        return seen, [each.status_code for each in response.history], response.status_code

    async def signed_in(self):
        async with self.made(auth=self.package.DigestAuth("ada", "secret")) as client:
            response = await client.get("/private")
            return response.status_code, [each.status_code for each in response.history]

    async def too_many(self):
        async with self.made(follow_redirects=True, max_redirects=0) as client:
            await client.get("/moved")

    async def mounted(self):
        answer = self.package.MockTransport(lambda _: self.package.Response(204))
        async with self.made(mounts={"http://stock": answer}) as client:
            answers = await client.get("http://stock/"), await client.head("/there")
            return tuple(each.status_code for each in answers)

    async def tried_again(self):
        transport = self.package.AsyncHTTPTransport(retries=2)
        async with self.made(transport=transport) as client:
            await client.get("http://127.0.0.1:9/")

    async def no_address(self):
        async with self.made(base_url="") as client:
            await client.get("/relative")

    async def cancelled(self):
        async with self.made() as client:
            task = asyncio.create_task(client.get("/slow"))
            await asyncio.sleep(0.2)
            task.cancel()
            await task

    async def cancelled_while_it_read(self):
        async with self.made() as client:
            task = asyncio.create_task(client.get("/endless"))
            await asyncio.sleep(0.2)
            task.cancel()
            await task


ENDS = {
    "left_within": [(200, None)],
    "never_read": [(200, None)],
    "failed_beside_it": [(200, None)],
    "timed_out": [(None, "ReadTimeout")],
    "timed_out_while_it_read": [(200, "ReadTimeout")],
    "no_connection_left": [(None, "PoolTimeout"), (200, None)],
    "refused_by_a_hook": [(500, "500")],
    "refused_before": [],
    "hooks_see": [(302, None), (200, None)],
    "signed_in": [(401, "401"), (200, None)],
    "too_many": [(302, None)],
    "mounted": [(204, None), (200, None)],
    "tried_again": [(None, "ConnectError")],
    "no_address": [(None, "UnsupportedProtocol")],
    "cancelled": [(None, "CancelledError")],
    "cancelled_while_it_read": [(200, "CancelledError")],
}


def outcome(program):
    """Return what it gave, or what it raised."""
    try:
        given = program()
        return asyncio.run(given) if asyncio.iscoroutine(given) else given
    except BaseException as error:
        return type(error), str(error)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind in (Sync, Async) for name in ENDS if hasattr(kind, name)],
)
def test_a_span_says_how_its_request_ended(server, tracing, package, kind, name):
    """Hooks, authentication, mounts, retries, limits; to close early is no error."""
    bare = outcome(getattr(kind(package, server), name))
    server.trickles = True
    undo = tracekit.httpx.instrument(tracing=tracing)
    try:
        assert outcome(getattr(kind(package, server), name)) == bare
    finally:
        undo()
    found = [
        (
            span.attributes.get("http.response.status_code"),
            span.attributes.get("error.type", "").rpartition(".")[2] or None,
        )
        for span in tracing.sink.spans
    ]
    assert found == ENDS[name]
    assert tracing.stats().open == 0


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_a_dropped_response_ends_its_span(server, tracing, package):
    """Nobody reads it, nobody closes it: its span goes with it."""
    undo = tracekit.httpx.instrument(tracing=tracing)
    try:
        program = Sync(package, server)
        with program.made() as client:
            response = client.send(client.build_request("GET", "/endless"), stream=True)
            assert tracing.stats().open == 1
            del response
            gc.collect()
            assert tracing.stats().open == 0
    finally:
        undo()
