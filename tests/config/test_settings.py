"""Settings as values: equality, what is shown of them, the start-up line, where spans go."""

from __future__ import annotations

import dataclasses
import json

import pytest

from tracekit._config.schema import PARTS, SETTINGS
from tracekit.settings import Settings

NAME = {"JAEGER_SERVICE_NAME": "shop"}


def from_env(**environ):
    return Settings.from_env(NAME | environ)


def test_each_setting_has_one_place():
    """The table and the classes name the same attributes."""
    settings = from_env()
    for part in ("", *PARTS):
        held = getattr(settings, part) if part else settings
        fields = {field.name for field in dataclasses.fields(held)}
        fields -= {"problems", "notes", "sources", *PARTS}
        assert fields == {row.attribute for row in SETTINGS.values() if row.part == part}


def test_settings_are_equal_by_their_values(tmp_path):
    """Two ways to say the same make the same pipeline, so ``init`` may return the running one."""
    file = tmp_path / "t.json"
    file.write_text('{"service_name": "shop", "queue_size": 5}')
    by_file = Settings.from_file(file)
    by_env = from_env(JAEGER_REPORTER_MAX_QUEUE_SIZE="5", JAEGER_AGENT_PORT="bad")
    assert by_env == by_file == Settings.resolve("shop", environ={}, queue_size=5)
    assert hash(by_env) == hash(by_file)
    assert by_env != from_env()


def test_settings_cannot_be_changed():
    """Not even their tags: they may be shared by threads and compared later."""
    settings = from_env(JAEGER_TAGS="a=b")
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.service_name = "other"
    with pytest.raises(TypeError):
        settings.tags["c"] = "d"


def test_flat_resolves_to_the_same_settings():
    """It is JSON: what was printed can be given back as keyword arguments."""
    settings = from_env(JAEGER_TAGS="a=b", JAEGER_PROPAGATION="b3,w3c", JAEGER_SAMPLER_TYPE="const")
    flat = json.loads(json.dumps(settings.flat()))
    assert flat.pop("authorization") is None
    assert Settings.resolve(environ={}, **flat) == settings


@pytest.mark.parametrize(
    ("name", "hint"), [("quee_size", "queue_size"), ("agent_hots", "agent_host")]
)
def test_an_unknown_keyword_is_a_type_error(name, hint):
    """With a suggestion: a typing mistake in the program is the program's, not the deployment's."""
    with pytest.raises(TypeError, match=f"no setting '{name}'; did you mean '{hint}'"):
        Settings.resolve(environ={}, **{name: 1})


def test_none_means_not_given():
    """So a program can hand on its own optional arguments."""
    settings = Settings.resolve(None, environ=NAME, queue_size=None)
    assert settings.sources["service_name"] == "JAEGER_SERVICE_NAME"
    assert settings.reporter.queue_size == SETTINGS["queue_size"].default


def test_without_a_name_it_is_unknown():
    """Jaeger's clients refuse to start; a service must not fail because of tracing."""
    settings = Settings.from_env({})
    assert settings.service_name == "unknown_service:python"
    assert settings.notes == ("the service has no name; set JAEGER_SERVICE_NAME",)
    assert settings.problems == ()


@pytest.mark.parametrize(
    ("environ", "kind", "endpoint"),
    [
        ({}, "udp", None),
        ({"JAEGER_AGENT_HOST": "h"}, "udp", None),
        ({"JAEGER_ENDPOINT": "http://c/x", "JAEGER_AGENT_HOST": "h"}, "http", "http://c/x"),
        ({"TRACEKIT_TRANSPORT": "http"}, "http", "http://localhost:14268/api/traces"),
        ({"TRACEKIT_TRANSPORT": "udp", "JAEGER_ENDPOINT": "http://c/x"}, "udp", None),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "otlp-http", "http://localhost:4318/v1/traces"),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "otlp-grpc",
            "http://localhost:4317",
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317"}, "otlp-grpc", "http://c:4317"),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317",
                "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            },
            "otlp-http",
            "http://c:4317/v1/traces",
        ),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:1",
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://d:2/in",
            },
            "otlp-http",
            "http://d:2/in",
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:1", "JAEGER_AGENT_HOST": "h"}, "udp", None),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:1", "JAEGER_ENDPOINT": "http://j/x"},
            "http",
            "http://j/x",
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:1", "JAEGER_AGENT_PORT": "udp://10.0.0.1:1"},
            "otlp-http",
            "http://c:1/v1/traces",
        ),
    ],
)
def test_the_transport_follows_the_settings(environ, kind, endpoint):
    """Endpoint before agent, Jaeger before OpenTelemetry; a service link is no agent."""
    transport = from_env(**environ).transport
    assert (transport.kind, transport.endpoint) == (kind, endpoint)


def test_a_destination_that_lost_is_told():
    """Both families set: one line says which one counts."""
    settings = from_env(JAEGER_AGENT_HOST="h", OTEL_EXPORTER_OTLP_ENDPOINT="http://c:1")
    assert settings.notes == (
        "OTEL_EXPORTER_OTLP_ENDPOINT is not used: JAEGER_AGENT_HOST says where spans go",
    )


def test_otlps_secrets_stay_with_otlp():
    """Its headers, certificates and timeouts are not sent to Jaeger's collector, nor back."""
    settings = from_env(
        JAEGER_ENDPOINT="http://c/x",
        OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20x",
        OTEL_EXPORTER_OTLP_CERTIFICATE="/ca",
    )
    assert dict(settings.transport.headers) == {}
    assert settings.transport.ca_file is None
    back = from_env(
        OTEL_TRACES_EXPORTER="otlp",
        TRACEKIT_TRANSPORT="otlp-http",
        JAEGER_USER="u",
        JAEGER_PASSWORD="p",
    )
    assert back.transport.authorization is None


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"JAEGER_AUTH_TOKEN": "t"}, "Bearer t"),
        ({"JAEGER_USER": "u", "JAEGER_PASSWORD": "p"}, "Basic dTpw"),
        ({"JAEGER_USER": "u", "JAEGER_PASSWORD": "p", "JAEGER_AUTH_TOKEN": "t"}, "Basic dTpw"),
        ({}, None),
    ],
)
def test_basic_goes_before_bearer(environ, expected):
    """As in Java."""
    settings = from_env(JAEGER_ENDPOINT="http://c/x", **environ)
    assert settings.flat()["authorization"] == expected


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "http://127.0.0.1:5778/sampling"),
        ({"JAEGER_AGENT_HOST": "h"}, "http://h:5778/sampling"),
        ({"JAEGER_AGENT_HOST": "::1"}, "http://[::1]:5778/sampling"),
        ({"JAEGER_AGENT_HOST": "h", "JAEGER_SAMPLER_MANAGER_HOST_PORT": "m:1"},
         "http://m:1/sampling"),
        (
            {"JAEGER_SAMPLING_ENDPOINT": "http://s/x", "JAEGER_SAMPLER_MANAGER_HOST_PORT": "m:1"},
            "http://s/x",
        ),
        ({"JAEGER_ENDPOINT": "http://c/x"}, None),
        ({"JAEGER_ENDPOINT": "http://c/x", "JAEGER_AGENT_HOST": "h"}, "http://h:5778/sampling"),
        (
            {"JAEGER_ENDPOINT": "http://c/x", "JAEGER_SAMPLER_TYPE": "remote"},
            "http://127.0.0.1:5778/sampling",
        ),
        ({"JAEGER_SAMPLER_TYPE": "const"}, None),
        ({"JAEGER_SAMPLER_HOST": "h", "JAEGER_SAMPLER_PORT": "1",
          "JAEGER_SAMPLER_SAMPLING_PATH": "/p"},
         "http://h:1/p"),
    ],
)  # fmt: skip
def test_the_sampling_server_is_gos(environ, expected):
    """Endpoint, host:port, the agent's host, this machine; nobody where only a collector is set."""
    assert from_env(**environ).sampler.endpoint == expected


@pytest.mark.parametrize(
    ("environ", "expected", "bad"),
    [
        ({"JAEGER_SAMPLER_TYPE": "const"}, ("const", 0.0), []),
        ({"JAEGER_SAMPLER_TYPE": "const", "JAEGER_SAMPLER_PARAM": "0.5"},
         ("const", 1.0), ["PARAM"]),
        ({"JAEGER_SAMPLER_TYPE": "probabilistic"}, ("probabilistic", 0.001), []),
        ({"JAEGER_SAMPLER_TYPE": "probabilistic", "JAEGER_SAMPLER_PARAM": "-1"},
         ("probabilistic", 0.0), ["PARAM"]),
        ({"JAEGER_SAMPLER_TYPE": "ratelimiting", "JAEGER_SAMPLER_PARAM": "-1"},
         ("ratelimiting", 0.0), ["PARAM"]),
        ({"JAEGER_SAMPLER_PARAM": "0"}, ("remote", 0.0), []),
        ({"JAEGER_SAMPLER_TYPE": "file"}, ("remote", 0.001), ["TYPE"]),
        ({"TRACEKIT_SAMPLER_FILE": "/s.json"}, ("file", 0.001), []),
        ({"OTEL_TRACES_SAMPLER": "always_on"}, ("const", 1.0), []),
        ({"OTEL_TRACES_SAMPLER": "traceidratio"}, ("probabilistic", 1.0), []),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "x"},
         ("probabilistic", 1.0), ["ARG"]),
        ({"OTEL_TRACES_SAMPLER": "always_off", "OTEL_TRACES_SAMPLER_ARG": "1"}, ("const", 0.0), []),
        ({"OTEL_TRACES_SAMPLER": "jaeger_remote"}, ("remote", 0.001), []),
        ({"OTEL_TRACES_SAMPLER": "always_on", "JAEGER_SAMPLER_TYPE": "ratelimiting",
          "JAEGER_SAMPLER_PARAM": "2"}, ("ratelimiting", 2.0), []),
    ],
)  # fmt: skip
def test_sampler_and_parameter_go_together(environ, expected, bad):
    """The default of each type, its range, and both families' ways to say it."""
    settings = from_env(**environ)
    assert (settings.sampler.type, settings.sampler.param) == expected
    assert [problem.name.rpartition("_")[2] for problem in settings.problems] == bad


def test_the_remote_samplers_argument():
    """The specification's example, with gRPC's port; a bad key costs itself only."""
    settings = from_env(
        OTEL_TRACES_SAMPLER="parentbased_jaeger_remote",
        OTEL_TRACES_SAMPLER_ARG="endpoint=http://localhost:14250,pollingIntervalMs=5000,"
        "initialSamplingRate=0.25,colour=blue",
    )
    sampler = settings.sampler
    assert (sampler.endpoint, sampler.refresh_s, sampler.param) == (
        "grpc://localhost:14250",
        5.0,
        0.25,
    )
    (bad,) = settings.problems
    assert bad.name == "OTEL_TRACES_SAMPLER_ARG"
    assert "'colour'" in bad.message


def test_the_order_of_extraction():
    """First wins for Jaeger's list, last for OpenTelemetry's, unless it is said."""
    assert from_env(JAEGER_PROPAGATION="b3,w3c").extract_order == "first"
    assert from_env(OTEL_PROPAGATORS="b3,tracecontext").extract_order == "last"
    both = from_env(JAEGER_PROPAGATION="b3,w3c", OTEL_PROPAGATORS="b3,tracecontext")
    assert both.extract_order == "first"
    said = from_env(OTEL_PROPAGATORS="b3", TRACEKIT_EXTRACT_ORDER="first")
    assert said.extract_order == "first"
    assert from_env(JAEGER_PROPAGATION="b3", TRACEKIT_EXTRACT_ORDER="last").extract_order == "last"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ("tracecontext,baggage", ["w3c"]),
        ("tracecontext", ["tracecontext"]),
        ("baggage,b3", ["baggage", "b3single"]),
        ("none", []),
        ("b3,b3", ["b3single"]),
    ],
)
def test_otels_propagators_in_our_words(environ, expected):
    """What OpenTelemetry calls b3 is the single header; none means none."""
    assert from_env(OTEL_PROPAGATORS=environ).flat()["propagation"] == expected


def test_a_user_without_a_password():
    """Go refuses to start; here there is no authentication, and that is said."""
    settings = from_env(JAEGER_ENDPOINT="http://c/x", JAEGER_USER="u")
    assert [bad.name for bad in settings.problems] == ["JAEGER_USER"]
    assert settings.transport.user is None


def test_a_batch_larger_than_the_queue():
    """It could never be full; the batch is then as large as its bytes allow."""
    assert from_env(JAEGER_REPORTER_MAX_QUEUE_SIZE="100").problems == ()
    asked = from_env(JAEGER_REPORTER_MAX_QUEUE_SIZE="100", OTEL_BSP_MAX_EXPORT_BATCH_SIZE="101")
    assert [bad.name for bad in asked.problems] == ["OTEL_BSP_MAX_EXPORT_BATCH_SIZE"]
    assert asked.reporter.max_batch_spans is None


@pytest.mark.parametrize(
    ("environ", "spans"),
    [
        ({}, None),
        ({"JAEGER_AGENT_HOST": "agent"}, None),
        ({"JAEGER_ENDPOINT": "http://c:14268/api/traces"}, 512),
        ({"TRACEKIT_TRANSPORT": "http"}, 512),
        ({"TRACEKIT_TRANSPORT": "otlp-http"}, 512),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, 512),
        ({"JAEGER_ENDPOINT": "http://c/x", "TRACEKIT_MAX_BATCH_SPANS": "5000"}, 5000),
        ({"JAEGER_ENDPOINT": "http://c/x", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "20"}, 20),
        ({"JAEGER_ENDPOINT": "http://c/x", "JAEGER_REPORTER_MAX_QUEUE_SIZE": "100"}, 512),
        ({"OTEL_TRACES_EXPORTER": "console"}, None),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else str(value),
)
def test_a_batch_fits_a_collectors_queue(environ, spans):
    """What is dropped behind a 2xx nobody tells of; a datagram is full long before."""
    settings = from_env(**environ)
    assert settings.reporter.max_batch_spans == spans
    assert not settings.problems


def test_kubernetes_service_links_are_known():
    """A Service named jaeger-agent sets JAEGER_AGENT_PORT in every pod of its namespace."""
    settings = from_env(
        JAEGER_AGENT_PORT="udp://10.0.0.1:5775",
        JAEGER_AGENT_PORT_5775_UDP="udp://10.0.0.1:5775",
        JAEGER_AGENT_SERVICE_HOST="10.0.0.1",
        JAEGER_AGENT_SERVICE_PORT="5775",
        JAEGER_PORT="tcp://10.0.0.2:80",
    )
    (bad,) = settings.problems
    assert bad.name == "JAEGER_AGENT_PORT"
    assert "Kubernetes service link" in bad.message
    assert settings.transport.agent_port == 6831
    assert settings.notes == ()


@pytest.mark.parametrize(
    ("environ", "note"),
    [
        ({"JAEGER_SAMPLER_TYP": "const"}, "JAEGER_SAMPLER_TYP is not read; did you mean"),
        ({"JAEGER_DISABLE": "false"}, "JAEGER_DISABLE is an old name; today's is JAEGER_DISABLED"),
        ({"JAEGER_SAMPLER_TYPE": "const"}, "the const sampler has no parameter"),
        ({"JAEGER_ENDPOINT": "http://c:4318/v1/traces"}, "that port speaks OTLP, not Thrift"),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_TIMEOUT": "10"},
            "is read as milliseconds",
        ),
    ],
)
def test_what_is_surprising_is_noted(environ, note):
    """One note, no problem."""
    settings = from_env(**environ)
    (said,) = settings.notes
    assert note in said
    assert settings.problems == ()


@pytest.mark.parametrize(
    ("environ", "parts"),
    [
        ({}, ["shop", "agent at localhost:6831 (UDP)", "remote sampler, 0.001",
              "JAEGER_SAMPLER_TYPE=const"]),
        ({"JAEGER_AGENT_HOST": "::1"}, ["agent at [::1]:6831"]),
        ({"JAEGER_ENDPOINT": "http://u:p@c/x", "JAEGER_AUTH_TOKEN": "tok"},
         ["http://***@c/x", "Thrift over HTTP, Bearer authorization"]),
        ({"JAEGER_SAMPLER_TYPE": "const", "JAEGER_SAMPLER_PARAM": "1"}, ["const sampler 1"]),
        ({"TRACEKIT_SAMPLER_FILE": "/s.json"}, ["sampling by /s.json"]),
        ({"JAEGER_PROPAGATION": "b3,w3c"}, ["headers b3, w3c"]),
        ({"JAEGER_DISABLED": "1"}, ["tracing of shop is disabled (JAEGER_DISABLED)"]),
    ],
)  # fmt: skip
def test_the_start_up_line_says_where_to(environ, parts):
    """A newcomer who sees no traces finds the reason in it; secrets are masked."""
    summary = from_env(**environ).summary()
    assert [part for part in parts if part not in summary] == []
    assert "tok" not in summary


REMOTE = {"JAEGER_SAMPLER_TYPE": "remote"}
SMALL_QUEUE = {"JAEGER_REPORTER_MAX_QUEUE_SIZE": "1"}


def from_config(config, environ=None):
    return Settings.from_jaeger_config(config, "x", environ=environ)


@pytest.mark.parametrize(
    ("name", "value", "make"),
    [
        ("JAEGER_SAMPLER_PARAM", "1.50", lambda one: Settings.from_env({**REMOTE, **one})),
        ("JAEGER_SAMPLER_PARAM", " 2 ", lambda one: Settings.from_env({**REMOTE, **one})),
        ("sampler_param", "7", lambda one: Settings.resolve("x", environ={}, sampler_param=7)),
        ("sampler.param", "7", lambda one: from_config({"sampler": {"param": 7}})),
        ("TRACEKIT_MAX_BATCH_SPANS", "+9", lambda one: from_config({}, {**one, **SMALL_QUEUE})),
    ],
)
def test_a_contradiction_is_shown_as_written(name, value, make):
    """Under the name and with the letters that the user can search for."""
    (bad,) = make({name: value}).problems
    assert (bad.name, bad.value) == (name, value)
    assert " from " not in bad.used


@pytest.mark.parametrize(
    ("written", "budget_s", "told"),
    [("2", 0.002, True), ("1.5", 0.0015, True), ("2s", 2.0, False), ("2000", 2.0, False)],
)
def test_a_tiny_exit_budget_is_told(written, budget_s, told):
    """Whoever writes 2 means seconds."""
    settings = from_env(TRACEKIT_EXIT_BUDGET=written, JAEGER_SERVICE_NAME="shop")
    assert settings.reporter.exit_budget_s == budget_s
    assert ["write a unit" in note for note in settings.notes] == [True] * told
