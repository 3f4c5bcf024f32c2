"""Keyword arguments take every form that the variables take, with the same meaning."""

from __future__ import annotations

import pytest

import tracekit
from tracekit import Settings
from tracekit.testing import MemoryTransport


def wire(**fields):
    settings = Settings.resolve("shop", environ={}, **fields)
    assert settings.problems == ()
    return settings.transport.kind, settings.transport.endpoint


@pytest.mark.parametrize(
    ("written", "protocol", "insecure"),
    [
        ("collector:4317", "", ""),
        ("collector:4317", "", "true"),
        ("collector:4318", "", "true"),
        ("collector:9999", "", ""),
        ("collector:9999", "grpc", ""),
        ("[::1]:4317", "grpc", "true"),
        ("collector:4318", "http/protobuf", "false"),
    ],
)
def test_a_target_means_as_in_a_variable(written, protocol, insecure):
    """Wire, scheme and path of ``host:port``, with the protocol and ``insecure`` beside it."""
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": written,
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_INSECURE": insecure,
    }
    said = Settings.from_env({name: value for name, value in environ.items() if value}).transport
    transport = {"grpc": "otlp-grpc", "http/protobuf": "otlp-http", "": None}[protocol]
    found = wire(endpoint=written, transport=transport, insecure=insecure or None)
    assert found == (said.kind, said.endpoint)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"endpoint": "c:14268", "insecure": True}, ("http", "http://c:14268/api/traces")),
        (
            {"endpoint": "c:1", "transport": "http", "insecure": True},
            ("http", "http://c:1/api/traces"),
        ),
        ({"endpoint": "http://c:4318/x", "insecure": False}, ("http", "http://c:4318/x")),
        (
            {"endpoint": "https://c:4317", "transport": "otlp-grpc", "insecure": True},
            ("otlp-grpc", "https://c:4317"),
        ),
    ],
)
def test_ports_and_urls_keep_their_meaning(fields, expected):
    """A URL says its scheme itself; Thrift's port has Thrift's path."""
    assert wire(**fields) == expected


def test_headers_and_tags_may_be_texts():
    """As in OTEL_EXPORTER_OTLP_HEADERS and in JAEGER_TAGS."""
    settings = Settings.resolve(
        "shop", environ={}, headers="X-Key=a%20b,other=1", tags="zone=a, url=http://x?y=z"
    )
    assert settings.transport.headers == {"x-key": "a b", "other": "1"}
    assert settings.tags == {"zone": "a", "url": "http://x?y=z"}
    assert settings.problems == ()


def test_what_is_none_of_the_forms_is_told():
    """With its name and what is used instead; a header's text is never quoted."""
    settings = Settings.resolve(
        "shop", environ={}, endpoint="collector", insecure="perhaps", headers="hunter2", tags="a"
    )
    told = {problem.name: problem.message for problem in settings.problems}
    assert told == {
        "endpoint": "is neither a URL nor host:port",
        "insecure": told["insecure"],
        "headers": "entry 1 is not key=value and is skipped",
        "tags": "'a' is not key=value and is skipped",
    }
    assert "hunter2" not in repr(settings.problems)
    with pytest.raises(TypeError, match="there is no setting 'insecur'"):
        tracekit.init(insecur=True, transport=MemoryTransport())
