"""Objects that others made do as they like when they are looked at; the program never notices."""

from __future__ import annotations

import io
from wsgiref.util import setup_testing_defaults

import pytest
import requests
from opentelemetry import trace
from requests.adapters import BaseAdapter, HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3 import HTTPResponse

import tracekit.requests
import tracekit.wsgi


class Refused(Exception):  # noqa: N818 (what such an object says)
    """Raised by an object that was looked at."""


class Shy:
    """Raises at every attribute but those it was given."""

    def __init__(self, **known):
        object.__setattr__(self, "_known", known)

    def __getattribute__(self, name):
        known = object.__getattribute__(self, "_known")
        if name in known:
            return known[name]
        raise Refused(name)

    def __setattr__(self, name, value):
        raise Refused(name)


class Rude(str):
    """Text that cannot be worked with."""

    __slots__ = ()

    def lower(self):
        raise Refused("lower")

    startswith = split = partition = __format__ = __str__ = lower


# -- WSGI ---------------------------------------------------------------------------------------


class Pieces:
    """A body that raises where it is told to."""

    def __init__(self, *refused):
        self.refused = refused
        self.pieces = iter((b"a", b"b"))

    def _or(self, name, value):
        if name in self.refused:
            raise Refused(name)
        return value

    def __iter__(self):
        return self._or("iter", self)

    def __next__(self):
        self._or("next", None)
        return next(self.pieces)

    def close(self):
        self._or("close", None)

    def __getattr__(self, name):
        if "attributes" in self.refused:
            raise Refused(name)
        raise AttributeError(name)


class Sized(Pieces):
    def __len__(self):
        return self._or("len", 2)


class Disguised(Pieces):
    @property
    def __class__(self):
        raise Refused("__class__")


def answering(make, status="200 OK", headers=(("X", "y"),), *more):
    def app(environ, start_response):
        start_response(status, list(headers) if isinstance(headers, tuple) else headers, *more)
        return make()

    return app


def raised():
    try:
        int("own")
    except ValueError as error:
        return type(error), error, error.__traceback__


BODIES = {
    "iter": lambda: Pieces("iter"),
    "next": lambda: Pieces("next"),
    "close": lambda: Pieces("close"),
    "attributes": lambda: Pieces("attributes"),
    "len": lambda: Sized("len"),
    "sized": Sized,
    "class": Disguised,
    "none": lambda: None,
    "number": lambda: 3,
    "text": lambda: "text",
    "bytes": lambda: b"bytes",
    "mapping": lambda: {b"a": 1},
}
APPS = {
    **{name: answering(make) for name, make in BODIES.items()},
    "status none": answering(list, None),
    "status number": answering(list, 200),
    "status rude": answering(list, Rude("200 OK")),
    "headers none": answering(list, "200 OK", None),
    "headers generator": answering(list, "200 OK", iter(())),
    "headers rude": answering(list, "200 OK", [(Rude("Content-Length"), Rude("3"))]),
    "headers odd": answering(list, "200 OK", [("Content-Length", 3), (1,), None]),
    "exc_info odd": answering(list, "200 OK", (), "no"),
    "exc_info empty": answering(list, "200 OK", (), ()),
    "exc_info none": answering(list, "200 OK", (), (None, None, None)),
    "exc_info": answering(list, "500 No", (), raised()),
}
ENVIRONS = {
    "plain": {},
    "none": dict.fromkeys(
        ("REQUEST_METHOD", "PATH_INFO", "HTTP_HOST", "REMOTE_ADDR", "SERVER_PORT", "QUERY_STRING"),
    ),
    "numbers": dict.fromkeys(("REQUEST_METHOD", "HTTP_HOST", "HTTP_USER_AGENT", "SCRIPT_NAME"), 7),
    "lists": {"PATH_INFO": [], "wsgi.url_scheme": [], "HTTP_UBER_TRACE_ID": [1]},
    "rude": {
        name: Rude("x")
        for name in (
            "PATH_INFO",
            "HTTP_HOST",
            "QUERY_STRING",
            "SERVER_PROTOCOL",
            "HTTP_TRACEPARENT",
        )
    },
    "shy": {name: Shy() for name in ("PATH_INFO", "HTTP_HOST", "wsgi.file_wrapper", "HTTP_B3")},
    "wrapper": {"wsgi.file_wrapper": Pieces},
    "keys": {3: 4, b"HTTP_B3": "0"},
}


def served(app, environ):
    """Return all that a server sees of one request."""
    seen = []

    def start_response(status, headers, exc_info=None):
        seen.append((status, headers, exc_info))
        return seen.append

    full = {"PATH_INFO": "/"}
    setup_testing_defaults(full)
    full.update(environ)
    try:
        result = app(full, start_response)
        seen.append(("sized", hasattr(type(result), "__len__")))
        try:
            seen.extend(iter(result))
        finally:
            if hasattr(result, "close"):
                result.close()
    except Exception as error:
        seen.append((type(error), str(error)))
    return repr(seen)


@pytest.mark.parametrize("kind", ENVIRONS)
@pytest.mark.parametrize("name", APPS)
def test_a_server_sees_what_it_would_see(tracing, name, kind, caplog):
    """Bodies, statuses, headers and environs of any kind: bare and traced are one."""
    app, environ = APPS[name], ENVIRONS[kind]
    if name == "exc_info":  # its traceback is its own
        app = answering(list, "500 No", (), raised())
    traced = tracekit.wsgi.middleware(app, tracing)
    if name == "headers generator":
        app, traced = (lambda *a, f=f: f(*a) for f in (app, traced))
    assert served(traced, environ) == served(app, environ)
    assert tracing.sink.take(timeout_s=1).kind is trace.SpanKind.SERVER
    assert tracing.sink.open == 0
    assert not [record for record in caplog.records if record.exc_info]


# -- requests -----------------------------------------------------------------------------------


class Plain(requests.Response):
    def __init__(self):
        super().__init__()
        self.status_code, self.url = 200, "http://shop/x"
        self.raw = HTTPResponse(io.BytesIO(b"body"), status=200, preload_content=False)


class Slotted:
    """A body that takes no attributes."""

    __slots__ = ("closed", "file")

    def __init__(self):
        self.file, self.closed = io.BytesIO(b"body"), False

    def read(self, amount=-1, **_):
        return self.file.read(amount)

    def stream(self, amount, **_):
        yield self.file.read()

    def release_conn(self):
        self.closed = True

    def close(self):
        self.closed = True


def with_raw(raw):
    response = Plain()
    response.raw = raw
    return response


def raising_property(*names):
    def refuse(self):
        raise Refused(names[0])

    return type("Plain", (Plain,), {name: property(refuse, lambda *_: None) for name in names})


class Stubborn(Plain):
    """Takes no attribute once it is made."""

    def __init__(self):
        super().__init__()
        self.made = True

    def __setattr__(self, name, value):
        if self.__dict__.get("made") and name.startswith("_tracekit"):
            raise Refused(name)
        super().__setattr__(name, value)


RESPONSES = {
    "plain": Plain,
    "status": raising_property("status_code"),
    "connection": raising_property("connection"),
    "raw": raising_property("raw"),
    "stubborn": Stubborn,
    "slotted raw": lambda: with_raw(Slotted()),
    "no raw": lambda: with_raw(None),
    "shy raw": lambda: with_raw(Shy()),
    "none": lambda: None,
    "shy": Shy,
    "bytes": lambda: b"body",
}


class Giving(BaseAdapter):
    def __init__(self, make):
        super().__init__()
        self.make = make

    def send(self, request, **_):
        response = self.make()
        if isinstance(response, requests.Response):
            response.request = request
            response.connection = self
        return response

    def close(self):
        """Hold nothing."""


class ShyAdapter:
    """Nothing but ``send``."""

    __slots__ = ()

    def send(self, request, **_):
        return Plain()


def outcome(work):
    try:
        response = work()
        return type(response), getattr(response, "status_code", None), response.content
    except Exception as error:
        return type(error), str(error)


def both(session, make_session, work, tracing):
    """Return what ``work`` gives bare and traced."""
    wanted = outcome(lambda: work(make_session()))
    undo = tracekit.requests.instrument(session, tracing=tracing)
    try:
        return wanted, outcome(lambda: work(session))
    finally:
        undo()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", RESPONSES)
def test_a_caller_sees_what_it_would_see(tracing, name, stream, caplog):
    """Responses and bodies of any kind."""

    def make():
        session = requests.Session()
        session.mount("http://", Giving(RESPONSES[name]))
        return session

    wanted, got = both(make(), make, lambda s: s.get("http://shop/x", stream=stream), tracing)
    assert got == wanted
    assert tracing.stats().open == 0
    assert len(caplog.records) <= 1


class Mapped(requests.Session):
    """Has one adapter for all."""

    def get_adapter(self, url):
        return Giving(Plain)


class Selling(requests.Session):
    """Chooses by what it is told, and asks the ordinary way for the rest."""

    def get_adapter(self, url, **_):
        adapter = super().get_adapter(url)
        assert type(adapter) is Giving
        return adapter


def on_the_instance():
    session = requests.Session()
    session.get_adapter = lambda url: Giving(Plain)
    return session


def static():
    return type(
        "Static", (requests.Session,), {"get_adapter": staticmethod(lambda url: ShyAdapter())}
    )()


def by_class():
    def get_adapter(cls, url):
        return Giving(Plain)

    return type("ByClass", (requests.Session,), {"get_adapter": classmethod(get_adapter)})()


def raising():
    def get_adapter(self, url):
        raise Refused("get_adapter")

    return type("Raising", (requests.Session,), {"get_adapter": get_adapter})()


def mounting(kind):
    def make():
        session = kind()
        session.mount("http://", Giving(Plain))
        return session

    return make


SESSIONS = [Mapped, mounting(Selling), on_the_instance, static, by_class, raising]


@pytest.mark.parametrize("which", ["one", "all"])
@pytest.mark.parametrize("make", SESSIONS)
def test_a_session_may_choose_its_adapter(tracing, make, which):
    """Whoever answers ``get_adapter``, the request has its span, and the class is what it was."""
    session = make()
    kind = type(session)
    before = [dict(vars(each)) for each in kind.__mro__], dict(vars(session))
    wanted = outcome(lambda: make().get("http://shop/x"))
    undo = tracekit.requests.instrument(session if which == "one" else None, tracing=tracing)
    try:
        assert outcome(lambda: session.get("http://shop/x")) == wanted
    finally:
        undo()
    assert ([dict(vars(each)) for each in kind.__mro__], dict(vars(session))) == before
    if make is not raising:
        assert tracing.sink.take().attributes["http.response.status_code"] == 200
    tracing.sink.assert_empty()


def test_a_mock_over_the_class_comes_off(tracing, monkeypatch):
    """A test's patch of ``get_adapter`` may come and go while requests are traced."""
    original = requests.Session.get_adapter
    undo = tracekit.requests.instrument(tracing=tracing)
    assert requests.Session.get_adapter is original
    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(requests.Session, "get_adapter", lambda self, url: Giving(Plain))
            assert requests.get("http://shop/x", timeout=1).content == b"body"
            tracing.sink.take()
        assert requests.Session.get_adapter is original
    undo()
    assert vars(requests.Session)["get_adapter"] is original
    assert type(requests.Session().get_adapter("http://shop")) is HTTPAdapter


class ShyRequest(requests.PreparedRequest):
    """Cannot be copied, or says nothing of itself."""

    refused = ""

    def __getattribute__(self, name):
        if name == object.__getattribute__(self, "refused"):
            raise Refused(name)
        return super().__getattribute__(name)


@pytest.mark.parametrize("refused", ["__copy__", "__reduce_ex__", "method", "headers"])
def test_an_unreadable_request_is_sent_bare(tracing, refused, caplog):
    """A request may refuse to be looked at: then it is sent as it is."""

    def work(session):
        request = ShyRequest()
        request.prepare("GET", "http://shop/x", headers={"a": "b"})
        request.refused = refused
        return session.send(request)

    make = mounting(requests.Session)
    wanted, got = both(make(), make, work, tracing)
    assert got == wanted
    assert tracing.stats().open == 0


@pytest.mark.parametrize(
    "headers", [{"a": "b"}, CaseInsensitiveDict({"A": b"b"}), {"n": 1}, {"x": Rude("y")}, None]
)
def test_headers_of_any_type_are_sent(tracing, headers):
    """What the caller put there arrives at the adapter; the caller's own object is untouched."""
    arrived = []

    class Noting(Giving):
        def send(self, request, **named):
            arrived.append(request.headers)
            return super().send(request, **named)

    def work(session):
        session.mount("http://", Noting(Plain))
        request = requests.PreparedRequest()
        request.prepare("GET", "http://shop/x")
        request.headers = headers
        response = session.send(request)
        assert request.headers is headers
        return response

    wanted, got = both(requests.Session(), requests.Session, work, tracing)
    assert got == wanted
    bare, traced = arrived
    assert {name: traced[name] for name in bare or ()} == dict(bare or {})
