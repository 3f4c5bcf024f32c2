"""What leaves the process: no secret of a URL, nothing that ``redact`` names, whoever made it."""

from __future__ import annotations

import json
import time

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import (
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.trace import Link, StatusCode

import tracekit
from tracekit._config.redactions import redactions
from tracekit._config.values import PartlyGoodError
from tracekit.encoding._redacting import MAX_SEARCHED, Rule
from tracekit.exporter import JaegerExporter
from tracekit.local import Receiver

SOON = 20.0
SECRET = "S3CR3T"
WIRES = ["compact", "binary", "exporter"]


class Kept(SpanExporter):
    """Keeps the spans that it was handed."""

    def __init__(self):
        self.spans = []

    def export(self, spans):
        self.spans += spans
        return SpanExportResult.SUCCESS


@pytest.fixture(params=WIRES)
def exported(request):
    """Return a function of settings: a handle, and what to call for all that left, as text."""
    handles = []
    with Receiver() as receiver:

        def start(**settings):
            kept = Kept()
            wire = (
                {"exporter": kept}
                if request.param == "exporter"
                else {
                    "agent_host": "127.0.0.1",
                    "agent_port": receiver.port,
                    "agent_protocol": request.param,
                }
            )
            tracing = tracekit.init(
                "shop", environ={}, set_global=False, sampler_type="const", sampler_param=1,
                **wire, **settings,
            )  # fmt: skip
            handles.append(tracing)

            def text():
                assert tracing.flush(SOON)
                if request.param == "exporter":
                    assert len(kept.spans) == tracing.stats().sent
                    return " ".join(span.to_json() for span in kept.spans)
                return repr(receiver.wait(tracing.stats().sent, timeout_s=SOON))

            return tracing, text

        yield start
        for tracing in handles:
            tracing.shutdown()


URLS = {
    "url.full": f"http://ann:{SECRET}@h/x?token={SECRET}&page=2",
    "http.url": f"http://h/x?token={SECRET}&page=2",
    "http.target": f"/x?token={SECRET}&page=2",
    "url.query": f"token={SECRET}&page=2",
}


@pytest.mark.parametrize("key", sorted(URLS))
def test_urls_lose_their_secrets_by_default(exported, key):
    """Whoever wrote the attribute, the token in it is gone and the rest is there."""
    tracing, text = exported()
    tracing.tracer("others").start_span("call", attributes={key: URLS[key]}).end()
    said = text()
    assert SECRET not in said
    assert "page=2" in said


def test_contribs_spans_are_redacted(exported):
    """A call that contrib's requests instrumentation traced: default and further names."""
    with Receiver() as nobody:
        port = nobody.port
    tracing, text = exported(redact=["email"])
    instrumentor = RequestsInstrumentor()
    instrumentor.instrument(tracer_provider=tracing.provider)
    try:
        with pytest.raises(requests.ConnectionError):
            requests.get(
                f"http://127.0.0.1:{port}/x?email=ann%40{SECRET}.example&token={SECRET}", timeout=5
            )
    finally:
        instrumentor.uninstrument()
    said = text()
    assert "GET" in said
    assert SECRET not in said


def test_exceptions_lose_what_they_quote(exported):
    """Message, stack trace and status: the URL's token, and the further name's value."""
    tracing, text = exported(redact=["ssn"])
    with pytest.raises(ValueError, match="ssn"), tracing.tracer("t").start_as_current_span("work"):
        raise ValueError(f"no such ssn={SECRET} at http://h/?token={SECRET}")
    said = text()
    assert "no such ssn=REDACTED" in said
    assert SECRET not in said


@pytest.mark.parametrize(
    "attributes",
    [
        {"email": SECRET},
        {"enduser.email": SECRET},
        {"Email": [SECRET, SECRET]},
        {"db.statement": f"select '{SECRET}'"},
        {"db.query.text": f"select '{SECRET}'"},
        {"note": f"see email={SECRET}&x=1"},
        {"note": f'{{"email": "{SECRET} {SECRET}", "x": 1}}'},
        {"note": "number 078-05-1120"},
        {"notes": ["a", "number 078-05-1120"]},
    ],
)
def test_named_values_are_replaced(exported, attributes):
    """As an attribute of span, event and link, by its name or where a text gives it a value."""
    tracing, text = exported(redact="email,db.statement,/078-05-\\d{4}/")
    tracer = tracing.tracer("t")
    with tracer.start_as_current_span("first") as first:
        pass
    with tracer.start_as_current_span(
        "work", attributes=attributes, links=[Link(first.get_span_context(), attributes)]
    ) as span:
        span.add_event("happened", attributes)
        span.set_status(StatusCode.ERROR, "call 078-05-1120")
        span.update_name("work for 078-05-1120")
    said = text()
    assert "REDACTED" in said
    assert SECRET not in said
    assert "078-05-1120" not in said


def test_what_nobody_named_stays(exported):
    """Numbers, texts and names that only look alike."""
    tracing, text = exported(redact=["mail"])
    attributes = {"email": "kept-1", "mailer": "kept-2", "n": 7, "f": 0.5, "b": True}
    tracing.tracer("t").start_span("work", attributes=attributes).end()
    said = text()
    assert "kept-1" in said
    assert "kept-2" in said
    assert "REDACTED" not in said


def test_the_program_keeps_its_own_span():
    """What is replaced is replaced on the way out: the program's other processors see it as is."""
    kept = Kept()
    tracing = tracekit.init(
        "shop", environ={}, set_global=False, exporter=kept, sampler_type="const",
        sampler_param=1, redact=["email"],
    )  # fmt: skip
    own = Kept()
    tracing.provider.add_span_processor(SimpleSpanProcessor(own))
    with tracing.tracer("t").start_as_current_span("work", attributes={"email": "a@b"}) as span:
        pass
    assert tracing.flush(SOON)
    tracing.shutdown()
    (sent,) = kept.spans
    assert own.spans[0].attributes["email"] == "a@b"
    assert sent.attributes["email"] == "REDACTED"
    before, after = (json.loads(each.to_json()) for each in (span, sent))
    for told in (before, after):
        del told["attributes"]
    assert before == after


def test_plain_sdk_spans_are_redacted(monkeypatch):
    """``JaegerExporter`` reads the variable; URLs are clean without it."""
    monkeypatch.setenv("TRACEKIT_REDACT", "ssn")
    with Receiver() as receiver:
        exporter = JaegerExporter(agent_host_name="127.0.0.1", agent_port=receiver.port)
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        attributes = {"http.url": URLS["http.url"], "ssn": SECRET}
        provider.get_tracer("t").start_span("work", attributes=attributes).end()
        (span,) = receiver.wait(1, timeout_s=SOON)
        provider.shutdown()
    assert span.tags["ssn"] == "REDACTED"
    assert SECRET not in repr(span)


def test_redaction_is_not_the_callers_work():
    """Before the worker takes it, nobody has looked into a span: a long search costs no request."""
    tracing = tracekit.init(
        "shop", environ={}, set_global=False, exporter=Kept(), sampler_type="const",
        sampler_param=1, flush_s=SOON, redact=["/(a|aa)+b/"],
    )  # fmt: skip
    began = time.thread_time()
    tracing.tracer("t").start_span("work", attributes={"note": "a" * 27}).end()
    on_this_thread = time.thread_time() - began
    before = time.process_time()
    assert tracing.flush(60.0)
    elsewhere = time.process_time() - before
    tracing.shutdown()
    assert on_this_thread < elsewhere / 3


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("email,ssn", ("email", "ssn")),
        (" email , /a,b/ ,c", ("email", "/a,b/", "c")),
        ("/\\d{2,3}/", ("/\\d{2,3}/",)),
        (["a", "a", "/x/"], ("a", "/x/")),
        ("", ()),
    ],
)
def test_it_takes_names_and_patterns(written, expected):
    """With commas between them, which a pattern may hold itself."""
    assert redactions(written) == expected


@pytest.mark.parametrize("bad", ["/(/", "two words", "/x*/", "a=b"])
def test_a_bad_entry_costs_no_other(bad):
    """It is named; what is good is kept, so that nothing is exported for a typing error."""
    with pytest.raises(PartlyGoodError) as caught:
        redactions(["email", bad])
    assert caught.value.good == ("email",)
    settings = tracekit.Settings.resolve("s", environ={"TRACEKIT_REDACT": f"email,{bad}"})
    assert settings.redact == ("email",)
    assert [problem.name for problem in settings.problems] == ["TRACEKIT_REDACT"]


def test_a_text_too_long_to_search_is_cut():
    """Rather less in a trace than a secret that nobody looked for."""
    cleaned = Rule.of(["/secret/"]).clean("x" * MAX_SEARCHED + "secret")
    assert len(cleaned) == MAX_SEARCHED + 1
    assert "secret" not in cleaned


@given(st.text(max_size=40), st.sampled_from(["=", ": ", '": "', "' = '"]), st.text(max_size=40))
def test_a_named_value_never_survives(before, sign, after):
    """Whatever stands around it, the value that a text gives to a name is gone."""
    text = f"{before} ssn{sign}{SECRET} {after}"
    assert SECRET not in Rule.of(["ssn"]).clean(text)
