"""From Thrift to OTLP by variables alone: what is used, and what is said."""

from __future__ import annotations

import pytest

from tracekit import Settings

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


def resolved(environ):
    settings = Settings.from_env({"JAEGER_SERVICE_NAME": "shop", **environ})
    assert settings.problems == ()
    return settings


@pytest.mark.parametrize(
    ("environ", "kind", "endpoint"),
    [
        ({ENDPOINT: "http://c:4318"}, "otlp-http", "http://c:4318/v1/traces"),
        ({ENDPOINT: "http://c:4318/base/"}, "otlp-http", "http://c:4318/base/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c/x"}, "otlp-http", "http://c/x"),
        ({ENDPOINT: "http://c:4317"}, "otlp-grpc", "http://c:4317"),
        (
            {ENDPOINT: "https://c:9", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "otlp-grpc",
            "https://c:9",
        ),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "otlp-http", "http://localhost:4318/v1/traces"),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"},
            "otlp-grpc",
            "http://localhost:4317",
        ),
        (
            {
                "TRACEKIT_TRANSPORT": "otlp-http",
                "JAEGER_AGENT_HOST": "a",
                ENDPOINT: "http://c:4318",
            },
            "otlp-http",
            "http://c:4318/v1/traces",
        ),
        (
            {"TRACEKIT_TRANSPORT": "otlp-http", "JAEGER_ENDPOINT": "http://c:4318/api/traces"},
            "otlp-http",
            "http://c:4318/v1/traces",
        ),
        (
            {"TRACEKIT_TRANSPORT": "otlp-grpc", "JAEGER_ENDPOINT": "https://c:4317"},
            "otlp-grpc",
            "https://c:4317",
        ),
    ],
)
def test_clear_variables_choose_the_wire(environ, kind, endpoint):
    """Each of these says clearly where spans go."""
    settings = resolved(environ)
    assert (settings.transport.kind, settings.transport.endpoint) == (kind, endpoint)
    assert settings.notes == ()


def test_thrift_on_an_otlp_port_is_named():
    """The variable is to blame, and what the note advises does work (see above)."""
    (note,) = resolved({"JAEGER_ENDPOINT": "http://c:4318/api/traces"}).notes
    assert note.startswith("JAEGER_ENDPOINT: that port speaks OTLP")
    assert "TRACEKIT_TRANSPORT" in note


def test_a_thrift_endpoint_beside_otlp():
    """It is not silently replaced by the default."""
    settings = resolved(
        {"TRACEKIT_TRANSPORT": "otlp-http", "JAEGER_ENDPOINT": "http://c:14268/api/traces"}
    )
    assert settings.transport.endpoint == "http://localhost:4318/v1/traces"
    (note,) = settings.notes
    assert note.startswith("JAEGER_ENDPOINT is not used")


def test_an_otlp_endpoint_beside_an_agent():
    """It loses, and whoever forgot the old variable finds the reason in the log."""
    settings = resolved({"JAEGER_AGENT_HOST": "agent", ENDPOINT: "http://c:4318"})
    assert settings.transport.kind == "udp"
    assert settings.notes == (f"{ENDPOINT} is not used: JAEGER_AGENT_HOST says where spans go",)


@pytest.mark.parametrize(
    ("written", "kind", "bad"),
    [
        ("none", "none", ""),
        ("None, none", "none", ""),
        ("console", "console", ""),
        ("Console,OTLP", "otlp-http", "'console' is skipped beside 'otlp'"),
        ("jaeger,otlp", "otlp-http", "'jaeger' is skipped beside 'otlp'"),
        ("console,tracekit", "udp", "'console' is skipped beside 'tracekit'"),
        ("none,console", "console", "'none' is not known here"),
        ("zipkin", "udp", "names no exporter known here"),
    ],
)
def test_spans_go_one_way(written, kind, bad):
    """One exporter is taken, and each of the others is told of."""
    settings = Settings.from_env({"OTEL_TRACES_EXPORTER": written})
    assert (settings.transport.kind, settings.transport.endpoint) == (kind, None) or kind[0] == "o"
    assert [bad in problem.message for problem in settings.problems] == [True] * bool(bad)


def test_jaegers_variables_beat_none():
    """OpenTelemetry's ``none`` loses to a destination for Jaeger; the log says which is heeded."""
    settings = resolved({"JAEGER_AGENT_HOST": "agent", "OTEL_TRACES_EXPORTER": "none"})
    assert settings.transport.kind == "udp"
    assert settings.notes == (
        "OTEL_TRACES_EXPORTER is not used: JAEGER_AGENT_HOST says where spans go",
    )


@pytest.mark.parametrize("name", ["jaeger", "tracekit", "tracekit,jaeger"])
def test_jaegers_exporter_is_the_default(name):
    """``OTEL_TRACES_EXPORTER`` may name our wires, or those of the retired exporters."""
    assert resolved({"OTEL_TRACES_EXPORTER": name}).transport.kind == "udp"
