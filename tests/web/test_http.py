"""Names and attributes of HTTP spans."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit._calls import http
from tracekit._calls.semconv import SEMCONVS, semconv_of

ENVIRON = {
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "/shop",
    "PATH_INFO": "/pulls/bob",
    "QUERY_STRING": "page=2&token=abc",
    "SERVER_NAME": "server",
    "SERVER_PORT": "8080",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "HTTP_HOST": "shop.example:8443",
    "HTTP_USER_AGENT": "curl/8",
    "REMOTE_ADDR": "10.0.0.7",
    "wsgi.url_scheme": "https",
}
CURRENT = {
    "http.request.method": "GET",
    "url.scheme": "https",
    "url.path": "/shop/pulls/bob",
    "url.query": "page=2&token=REDACTED",
    "server.address": "shop.example",
    "server.port": 8443,
    "client.address": "10.0.0.7",
    "user_agent.original": "curl/8",
    "network.protocol.version": "1.1",
}
OLD = {
    "http.method": "GET",
    "http.scheme": "https",
    "http.target": "/shop/pulls/bob?page=2&token=REDACTED",
    "http.host": "shop.example:8443",
    "http.client_ip": "10.0.0.7",
    "http.user_agent": "curl/8",
    "http.flavor": "1.1",
    "net.host.name": "shop.example",
    "net.host.port": 8443,
}


@pytest.mark.parametrize(
    ("semconv", "expected"), [("current", CURRENT), ("old", OLD), ("both", CURRENT | OLD)]
)
def test_attributes_follow_the_conventions(semconv, expected):
    """An environ becomes the current names, the older ones, or both; secrets are redacted."""
    assert http.server_attributes(ENVIRON, semconv) == expected


def test_without_a_host_the_server_is_named():
    """HTTP/1.0 clients send no Host: the server's own name and port stand in."""
    found = http.server_attributes({**ENVIRON, "HTTP_HOST": ""}, "current")
    assert (found["server.address"], found["server.port"]) == ("server", 8080)


@pytest.mark.parametrize(
    ("method", "route", "name"),
    [
        ("GET", "/a/<b>", "GET /a/<b>"),
        ("GET", None, "GET"),
        ("BREW", None, "HTTP"),
        ("BREW", "/pot", "HTTP /pot"),
    ],
)
def test_span_names_have_few_values(method, route, name):
    """Only known methods and route patterns stand in names."""
    assert http.span_name(method, route) == name


def test_an_unknown_method_is_an_attribute():
    """A method nobody knows is counted as _OTHER and kept beside it."""
    found = http.server_attributes({**ENVIRON, "REQUEST_METHOD": "BREW"}, "current")
    assert found["http.request.method"] == "_OTHER"
    assert found["http.request.method_original"] == "BREW"


def test_paths_are_decoded_as_utf8():
    """PEP 3333 disguises UTF-8 as latin-1; the attribute shows the text."""
    path = "/grüße".encode().decode("latin-1")
    found = http.server_attributes({"PATH_INFO": path}, "current")
    assert found["url.path"] == "/grüße"


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("http://h/x", ("h", 80)),
        ("https://h", ("h", 443)),
        ("http://u:p@h:81?x=@y:1", ("h", 81)),
        ("http://[::1]:82/", ("::1", 82)),
        ("HTTP://H#f", ("H", 80)),
        ("/path", ("", 0)),
    ],
)
def test_the_server_of_a_url(url, server):
    """Host and port are read off any absolute URL, the scheme's port where none is given."""
    assert http.server_of(url) == server


@given(st.dictionaries(st.sampled_from([*ENVIRON, "HTTP_X"]), st.text(max_size=30)))
def test_no_environ_is_too_odd(environ):
    """Whatever a server puts into an environ, attributes come out and nothing raises."""
    for semconv in SEMCONVS:
        for value in http.server_attributes(environ, semconv).values():
            assert isinstance(value, str | int)


def test_unknown_conventions_are_refused():
    """A misspelt ``semconv`` is said at once, by name."""
    with pytest.raises(ValueError, match="'newest'"):
        semconv_of("newest")
