"""What OpenTelemetry's SDKs do with their variables, as tables (specification, Python, Java)."""

from __future__ import annotations

import pytest

from tracekit import Settings

OTLP = "OTEL_EXPORTER_OTLP_"
REMOTE = ("http://127.0.0.1:5778/sampling", 60.0, 0.001)


def flat(**environ):
    return Settings.from_env(environ).flat()


@pytest.mark.parametrize(
    ("written", "expected", "bad"),
    [
        ("name=value,name2=val2", {"name": "value", "name2": "val2"}, 0),
        (" Name = value ,", {"name": "value"}, 0),
        ("key=val=ue", {"key": "val=ue"}, 0),
        ("api-key=a%20b%2Cc", {"api-key": "a b,c"}, 0),
        ("Authorization=Basic YTpi==", {"authorization": "Basic YTpi=="}, 0),
        ("name=", {"name": ""}, 0),
        ("=value", {}, 1),
        ("entry", {}, 1),
        ("good=1,bad name=2", {"good": "1"}, 1),
        ("ba(d=2,good=1", {"good": "1"}, 1),
        ("good=1,b=caf%C3%A9,c=a%0Ab", {"good": "1"}, 2),
    ],
)
def test_headers(written, expected, bad):
    """A header that cannot be sent is left out and named; the others, a token perhaps, stay."""
    settings = Settings.from_env({"OTEL_TRACES_EXPORTER": "otlp", f"{OTLP}HEADERS": written})
    assert settings.transport.headers == expected
    assert [problem.name for problem in settings.problems] == [f"{OTLP}HEADERS"] * bad
    assert not any("2" in str(problem) for problem in settings.problems)  # no value is told


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("tracecontext,baggage", ["w3c"]),
        ("tracecontext", ["tracecontext"]),
        ("b3", ["b3single"]),
        ("b3multi", ["b3"]),
        ("b3,b3", ["b3single"]),
        (" b3 , jaeger ", ["b3single", "jaeger"]),
        ("pigeon,jaeger", ["jaeger"]),
        ("pigeon", ["jaeger"]),  # nothing known: the default
        ("none", []),
        ("jaeger,none", []),
        ("None,pigeon", []),
    ],
)
def test_propagators(written, expected):
    """Formats in order, once each; *none* removes all of them."""
    assert flat(OTEL_PROPAGATORS=written)["propagation"] == expected


@pytest.mark.parametrize(
    ("sampler", "argument", "expected"),
    [
        ("always_on", "", ("const", 1.0)),
        ("always_off", "", ("const", 0.0)),
        ("PARENTBASED_ALWAYS_ON", "0.1", ("const", 1.0)),
        ("traceidratio", "0.25", ("probabilistic", 0.25)),
        ("parentbased_traceidratio", "0.25", ("probabilistic", 0.25)),
        ("traceidratio", "", ("probabilistic", 1.0)),
        ("traceidratio", "x", ("probabilistic", 1.0)),
        ("traceidratio", "1.5", ("probabilistic", 1.0)),
        ("unknown", "0.5", ("remote", 0.001)),
    ],
)
def test_samplers(sampler, argument, expected):
    """A ratio that is missing or cannot be means all; an unknown sampler leaves the default."""
    found = flat(OTEL_TRACES_SAMPLER=sampler, OTEL_TRACES_SAMPLER_ARG=argument)
    assert (found["sampler_type"], found["sampler_param"]) == expected


@pytest.mark.parametrize("sampler", ["jaeger_remote", "parentbased_jaeger_remote"])
@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("", REMOTE),
        (
            "endpoint=http://localhost:14250,pollingIntervalMs=5000,initialSamplingRate=0.25",
            ("grpc://localhost:14250", 5.0, 0.25),
        ),
        ("endpoint=https://h:5779", ("grpcs://h:5779", *REMOTE[1:])),
        ("endpoint=localhost:14250", ("grpc://localhost:14250", *REMOTE[1:])),
        ("endpoint=h:5778", ("http://h:5778/sampling", *REMOTE[1:])),
        ("endpoint=http://h:5778/sampling", ("http://h:5778/sampling", *REMOTE[1:])),
        (" pollingInterval = 100 , endpoint = grpc://h:1 ", ("grpc://h:1", 0.1, 0.001)),
        ("pollingIntervalMs=-1,initialSamplingRate=2", REMOTE),
        ("https://h:1", REMOTE),
    ],
)
def test_remote_sampler(sampler, argument, expected):
    """The three keys in any order; what is missing or bad keeps the clients' default."""
    found = flat(OTEL_TRACES_SAMPLER=sampler, OTEL_TRACES_SAMPLER_ARG=argument)
    read = (found["sampling_endpoint"], found["sampler_refresh_s"], found["sampler_param"])
    assert (found["sampler_type"], *read) == ("remote", *expected)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (" k = v , k2 = v2 ", {"k": "v", "k2": "v2"}),
        ("k=v,", {"k": "v"}),
        ("k=v,k2", {"k": "v"}),
        ("k=v=w", {"k": "v=w"}),
        ("k=a%2Cb%3Dc", {"k": "a,b=c"}),
        ("k=%", {"k": "%"}),
        ("k=", {"k": ""}),
        ("service.name=shop,k=v", {"k": "v"}),
    ],
)
def test_resource_attributes(written, expected):
    """Percent-decoded; an entry that is no pair is skipped, the others count."""
    assert flat(OTEL_RESOURCE_ATTRIBUTES=written)["tags"] == expected


@pytest.mark.parametrize(
    ("written", "expected_s"),
    [("10000", 10.0), ("1500", 1.5), ("5s", 5.0), ("x", 10.0), ("-1", 10.0), ("0", 10.0)],
)
def test_timeout(written, expected_s):
    """Plain numbers are milliseconds; a bad one leaves the specification's ten seconds."""
    found = flat(**{"OTEL_TRACES_EXPORTER": "otlp", f"{OTLP}TIMEOUT": written})
    assert found["timeout_s"] == expected_s


@pytest.mark.parametrize(
    ("name", "setting", "of_traces", "of_all", "expected"),
    [
        ("HEADERS", "headers", "a=1", "b=2", {"a": "1"}),
        ("TIMEOUT", "timeout_s", "1000", "2000", 1.0),
        ("COMPRESSION", "compression", "none", "gzip", "none"),
        ("CERTIFICATE", "ca_file", "/t", "/a", "/t"),
        ("ENDPOINT", "endpoint", "http://t:1", "http://a:1", "http://t:1"),
    ],
)
def test_traces_have_the_last_word(name, setting, of_traces, of_all, expected):
    """A variable for traces beats the one for all signals; it does not add to it."""
    environ = {f"{OTLP}{name}": of_all, f"{OTLP}TRACES_{name}": of_traces}
    assert flat(OTEL_TRACES_EXPORTER="otlp", **environ)[setting] == expected


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "max_attributes"),
        ("OTEL_ATTRIBUTE_COUNT_LIMIT", "max_attributes"),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "max_events"),
        ("OTEL_SPAN_LINK_COUNT_LIMIT", "max_links"),
        ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "max_event_attributes"),
        ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "max_link_attributes"),
    ],
)
@pytest.mark.parametrize(
    ("written", "expected"), [("3", 3), ("0", 0), ("-1", 128), ("x", 128), (" ", 128)]
)
def test_limits(name, setting, written, expected):
    """Zero is a limit; what is none leaves the specification's 128."""
    assert flat(**{name: written})[setting] == expected
