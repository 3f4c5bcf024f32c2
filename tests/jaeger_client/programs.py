"""OpenTracing programs, run once on ``jaeger_client`` and once on ``tracekit.jaeger_client``.

    python programs.py jaeger_client|tracekit.jaeger_client PORT

Runs on old Pythons, which jaeger_client was made for. Every operation occurs once.
"""

import asyncio
import importlib
import sys
import time
from contextlib import suppress

import opentracing
from opentracing import Format


class Unprintable:
    def __str__(self):
        raise RuntimeError("no text")


def tags(tracer):
    with tracer.start_span("tags") as span:
        span.set_tag("str", "ä").set_tag("bool", False).set_tag("int", -7).set_tag("float", 2.5)
        span.set_tag("none", None).set_tag("list", [1, "b"]).set_tag("dict", {"k": 1})
        span.set_tag("bytes", b"raw").set_tag("long text", "x" * 3000).set_tag(5, "number")
        span.set_tag("unprintable", Unprintable())
    given = {"component": "test", "http.url": "http://a/b?c", "http.status_code": 200}
    tracer.start_span("tags/start", tags=given).finish()


def kinds(tracer):
    for kind in ("client", "server", "producer", "consumer", "internal"):
        tracer.start_span("kinds/" + kind, tags={"span.kind": kind}).finish()
    with tracer.start_span("kinds/late") as span:
        span.set_tag("span.kind", "client")
        assert span.is_rpc()
        assert span.is_rpc_client()


def errors(tracer):
    tracer.start_span("errors/start", tags={"error": True}).finish()
    with tracer.start_span("errors/tag") as span:
        span.set_tag("error", True)
    with tracer.start_span("errors/text") as span:
        span.set_tag("error", "true")
    with tracer.start_span("errors/none") as span:
        span.set_tag("error", False)
    for start in (tracer.start_span, tracer.start_active_span):
        with suppress(ValueError), start("errors/" + start.__name__):
            int("bad")
    with tracer.start_span("errors/helpers") as span:
        span.info("note").info("noted", {"a": 1}).error("broken", "payload").error("again")


def logs(tracer):
    with tracer.start_span("logs") as span:
        span.log_kv({"event": "cache miss", "size": 3, "hit": False, "rate": 0.5, "key": None})
        span.log_kv({"message": "no event here"})
        span.log_kv({"event": "earlier"}, 1500000000.25)
        span.log_kv({"event": 42, "long": "y" * 3000})
        span.log_event("old", {"k": "v"})
        span.log(event="older", payload=1, timestamp=1500000001)


def times(tracer):
    tracer.start_span("times", start_time=1500000000.125).finish(1500000002.5)
    tracer.start_span("times/whole", start_time=1500000000).finish(1500000001)


def parents(tracer):
    parent = tracer.start_span("parents")
    tracer.start_span("parents/span", child_of=parent).finish()
    tracer.start_span("parents/context", child_of=parent.context).finish()
    opentracing.start_child_span(parent, "parents/helper", tags={"a": 1}).finish()
    with tracer.scope_manager.activate(parent, False):
        with tracer.start_active_span("parents/active"):
            tracer.start_span("parents/below").finish()
            tracer.start_span("parents/alone", ignore_active_span=True).finish()
        with tracer.start_active_span("parents/open", finish_on_close=False) as scope:
            pass
        scope.span.finish()
    assert tracer.active_span is None
    parent.set_operation_name("parents/renamed").finish()


def references(tracer):
    first, second = tracer.start_span("references/1"), tracer.start_span("references/2")
    follows, child = opentracing.follows_from, opentracing.child_of
    tracer.start_span("references/follows", references=follows(first.context)).finish()
    tracer.start_span("references/child", references=[child(first.context)]).finish()
    both = [child(second.context), follows(first.context), follows(None)]
    tracer.start_span("references/both", references=both).finish()
    tracer.start_span("references/mixed", child_of=second, references=both).finish()
    with tracer.scope_manager.activate(first, True):
        tracer.start_span("references/active", references=follows(second.context)).finish()
    second.finish()


def baggage(tracer):
    with tracer.start_active_span("baggage") as scope:
        scope.span.set_baggage_item("who", "a b").set_baggage_item("who", "me")
        with tracer.start_span("baggage/child") as child:
            child.set_tag("who", child.get_baggage_item("who"))
            child.set_baggage_item("own", "1").set_tag("all", sorted(child.context.baggage.items()))
        scope.span.set_tag("all", sorted(scope.span.context.baggage.items()))


def carriers(tracer):
    for form, carrier in (
        (Format.TEXT_MAP, {}),
        (Format.HTTP_HEADERS, {}),
        (Format.BINARY, bytearray(b"")),
    ):
        with tracer.start_span("carriers/" + form) as span:
            span.set_baggage_item("k", "50% of ä")
            tracer.inject(span, form, carrier)
            if form != Format.BINARY:
                span.set_tag("sent", sorted(it for it in carrier.items() if ":" not in it[1]))
            arrived = tracer.extract(form, carrier)
            with tracer.start_span("carriers/to/" + form, child_of=arrived) as child:
                child.set_tag("arrived", child.get_baggage_item("k"))
    for form in (Format.TEXT_MAP, Format.HTTP_HEADERS):
        assert tracer.extract(form, {}) is None
        assert tracer.extract(form, {"accept": "*/*"}) is None
    for call in (tracer.inject, tracer.extract):
        for form, carrier, error in (
            ("unknown", {}, opentracing.UnsupportedFormatException),
            (Format.BINARY, {}, opentracing.InvalidCarrierException),
            (Format.TEXT_MAP, 5, opentracing.InvalidCarrierException),
        ):
            arguments = (form, carrier)
            if call == tracer.inject:
                arguments = (tracer.start_span("never finished").context, form, carrier)
            try:
                call(*arguments)
            except error:
                continue
            raise AssertionError(form)


def remote(tracer):
    for name, headers in (
        ("sampled", {"uber-trace-id": "abc:def:0:1"}),
        ("upper", {"Uber-Trace-Id": "ABC:DEF:0:1"}),
        ("encoded", {"uber-trace-id": "abc%3Adef%3A0%3A1"}),
        ("wide", {"uber-trace-id": "f" * 32 + ":1:2:1"}),
        ("debug", {"uber-trace-id": "abc:def:0:3"}),
        ("unsampled", {"uber-trace-id": "abc:def:0:0"}),
        ("debug-id", {"jaeger-debug-id": "find me"}),
        ("baggage", {"uber-trace-id": "abc:def:0:1", "uberctx-Key": "a%20b"}),
        ("manual", {"uber-trace-id": "abc:def:0:1", "jaeger-baggage": "key=1,other=2"}),
    ):
        context = tracer.extract(Format.HTTP_HEADERS, headers)
        with tracer.start_span("remote/" + name, child_of=context) as span:
            span.set_tag("baggage", sorted(span.context.baggage.items()))
            tracer.start_span("remote/child/" + name, child_of=span).finish()


def priorities(tracer):
    key = "sampling.priority"
    tracer.start_span("priorities/start", tags={key: 1}).finish()
    tracer.start_span("priorities/never", tags={key: 0}).finish()
    tracer.start_span("priorities/nonsense", tags={key: "many"}).finish()
    with tracer.start_span("priorities/later") as span:
        span.set_tag(key, 1).set_tag(key, 1)
        assert span.is_debug()
        tracer.start_span("priorities/later/child", child_of=span.context).finish()
        tracer.start_span("priorities/again", child_of=span, tags={key: 1}).finish()
    with tracer.start_span("priorities/dropped") as span:
        context = span.context
        span.set_tag(key, 0)
        assert not span.is_sampled()
        tracer.start_span("priorities/dropped/child", child_of=context).finish()


def quiet(tracer):
    """On a tracer that samples nothing by itself."""
    with tracer.start_span("quiet", tags={"lost": 1}) as span:
        assert not span.is_sampled()
        tracer.start_span("quiet/child", child_of=span).finish()
    tracer.start_span("quiet/forced", tags={"sampling.priority": 1, "kept": 1}).finish()
    with tracer.start_active_span("quiet/late", tags={"lost": 1}) as scope:
        scope.span.set_tag("lost too", 1).set_tag("sampling.priority", 1).set_tag("kept", 1)
        tracer.start_span("quiet/late/child").finish()


LOUD = (tags, kinds, errors, logs, times, parents, references, baggage, carriers, remote)


def main(module, port):
    config_class = importlib.import_module(module).Config

    def tracer(param):
        config = {
            "sampler": {"type": "const", "param": param},
            "local_agent": {"reporting_host": "127.0.0.1", "reporting_port": port},
            "tags": {"zone": "b", "replica": "3"},
            "reporter_queue_size": 1000,
        }
        return config_class(config=config, service_name="programs").new_tracer()

    # jaeger_client's close() wants a loop on this thread, which since 3.14 nobody makes unasked.
    asyncio.set_event_loop(asyncio.new_event_loop())
    loud, silent = tracer(1), tracer(0)
    for program in (*LOUD, priorities):
        program(loud)
    quiet(silent)
    closing = [loud.close(), silent.close()]
    for _ in range(500):
        if all(future.done() for future in closing):
            break
        time.sleep(0.01)
    time.sleep(0.1)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
