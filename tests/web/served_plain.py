"""Plain WSGI for the server tests: the same application traced, and bare below ``/bare``."""

from __future__ import annotations

import io
import sys
from wsgiref.simple_server import make_server

import gevent.pywsgi
import waitress

import tracekit.testing
import tracekit.wsgi

TEXT = ("Content-Type", "text/plain")


def write_twice(environ, start_response):
    write = start_response("200 OK", [TEXT])
    write(b"one ")
    write(b"two ")
    return [b"three"]


def start_late(environ, start_response):
    start_response("201 Created", [TEXT])
    yield b""
    yield b"late"


def start_again(environ, start_response):
    start_response("200 OK", [TEXT])
    try:
        int("in time")
    except ValueError:
        start_response("500 Oops", [TEXT], sys.exc_info())
    return [b"sorry"]


def break_midway(environ, start_response):
    start_response("200 OK", [TEXT])
    yield b"part"
    raise ValueError("midway")


def give(result, *headers, status="200 OK"):
    def app(environ, start_response):
        start_response(status, [TEXT, *headers])
        return result() if callable(result) else result

    return app


def file(environ, start_response):
    start_response("200 OK", [TEXT, ("Content-Length", "1000")])
    wrapper = environ.get("wsgi.file_wrapper", iter)
    return wrapper(io.BytesIO(b"z" * 1000))


APPS = {
    "/list": give([b"a", b"b"]),
    "/one": give([b"hello"]),
    "/tuple": give((b"a", b"b")),
    "/empty": give([]),
    "/bytes": give(b"abc"),
    "/text": give(["abc"]),
    "/none": give(None),
    "/iterator": give(lambda: iter([b"a", b"b"])),
    "/too-short": give([b"abc"], ("Content-Length", "9")),
    "/too-long": give([b"abc"], ("Content-Length", "2")),
    "/cookies": give([b"x"], ("Set-Cookie", "a=1"), ("set-cookie", "b=2")),
    "/no-content": give([], status="204 No Content"),
    "/write": write_twice,
    "/late": start_late,
    "/again": start_again,
    "/midway": break_midway,
    "/file": file,
}
APPS["/"] = give(["\n".join(APPS).encode()])  # what there is to ask for


def plain(environ, start_response):
    return APPS[environ["PATH_INFO"].removeprefix("/bare")](environ, start_response)


traced = tracekit.wsgi.middleware(plain, tracekit.testing.tracing())


def application(environ, start_response):
    bare = environ["PATH_INFO"].startswith("/bare")
    return (plain if bare else traced)(environ, start_response)


def serve_wsgiref(port: int) -> None:
    make_server("127.0.0.1", port, application).serve_forever()


def serve_waitress(port: int) -> None:
    waitress.serve(application, host="127.0.0.1", port=port)


def serve_gevent(port: int) -> None:
    gevent.pywsgi.WSGIServer(("127.0.0.1", port), application).serve_forever()


if __name__ == "__main__":
    globals()[f"serve_{sys.argv[1]}"](int(sys.argv[2]))
