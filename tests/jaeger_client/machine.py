"""Programs as lists of steps, carried out on one client; what could be seen as lines of JSON.

    python machine.py jaeger_client|tracekit.jaeger_client < programs.json

Runs on old Pythons, which jaeger_client was made for.
"""

import importlib
import json
import sys

import opentracing

FORMS = (opentracing.Format.TEXT_MAP, opentracing.Format.HTTP_HEADERS, opentracing.Format.BINARY)
REFERENCES = {"child": opentracing.child_of, "follows": opentracing.follows_from}


class Machine:
    """Carries out steps. Spans are known by their number, in the order of their start."""

    def __init__(self, package, sampled, scope_manager=None):
        reporters = importlib.import_module(package.__name__ + ".reporter")
        self.reporter = reporters.InMemoryReporter()
        self.tracer = package.Tracer(
            "shop", self.reporter, package.ConstSampler(sampled), scope_manager=scope_manager
        )
        self.spans = []
        self.scopes = []
        self.arrived = []
        self.seen = []

    def parent(self, how, number):
        if how == "none":
            return {}
        if how == "arrived":
            return {"child_of": self.arrived[number]}
        span = self.spans[number]
        if how in REFERENCES:
            return {"references": REFERENCES[how](span.context)}
        return {"child_of": span if how == "span" else span.context}

    def start(self, how, number, tags, ignore):
        name = f"op{len(self.spans)}"
        given = self.parent(how, number)
        span = self.tracer.start_span(name, tags=tags, ignore_active_span=ignore, **given)
        self.spans.append(span)

    def enter(self, how, number, tags, ignore):
        name = f"op{len(self.spans)}"
        given = self.parent(how, number)
        scope = self.tracer.start_active_span(
            name, tags=tags, ignore_active_span=ignore, finish_on_close=False, **given
        )
        self.spans.append(scope.span)
        self.scopes.append(scope)

    def activate(self, number):
        self.scopes.append(self.tracer.scope_manager.activate(self.spans[number], False))

    def close(self):
        self.scopes.pop().close()

    def tag(self, number, key, value):
        self.spans[number].set_tag(key, value)

    def log(self, number, fields):
        self.spans[number].log_kv(fields, 1500000000)

    def baggage(self, number, key, value):
        self.spans[number].set_baggage_item(key, value)

    def rename(self, number, name):
        self.spans[number].set_operation_name(name)

    def finish(self, number):
        self.spans[number].finish()

    def carry(self, number, form):
        carrier = bytearray(b"") if FORMS[form] == opentracing.Format.BINARY else {}
        self.tracer.inject(self.spans[number].context, FORMS[form], carrier)
        self.arrived.append(self.tracer.extract(FORMS[form], carrier))

    def look(self, number):
        span, active = self.spans[number], self.tracer.active_span
        numbers = {it.span_id: n for n, it in enumerate(self.spans)}
        self.seen.append(
            [
                None if active is None else numbers[active.span_id],
                span.is_sampled(),
                span.is_debug(),
                span.flags,
                sorted(span.context.baggage.items()),
                numbers.get(span.parent_id),
                [it.trace_id for it in self.spans].index(span.trace_id),
                span.operation_name,
            ]
        )

    def told(self):
        numbers = {it.span_id: n for n, it in enumerate(self.spans)}
        return [
            {
                "number": numbers[span.span_id],
                "name": span.operation_name,
                "flags": span.flags,
                "tags": {tag.key: value_of(tag) for tag in span.tags},
                "logs": [
                    {field.key: value_of(field) for field in log.fields}
                    for log in span.logs
                    if log.timestamp == 1500000000000000 or log.fields[0].key == "event"
                ],
                "references": [
                    [ref.type, numbers[ref.referenced_context.span_id]]
                    for ref in span.references or ()
                ],
            }
            for span in self.reporter.get_spans()
        ]


def value_of(tag):
    return [tag.vStr, tag.vDouble, tag.vBool, tag.vLong][tag.vType]


def main(module):
    package = importlib.import_module(module)
    for sampled, steps in json.load(sys.stdin):
        machine = Machine(package, sampled)
        for step, *arguments in steps:
            getattr(machine, step)(*arguments)
        print(json.dumps({"seen": machine.seen, "told": machine.told()}))
        while machine.scopes:
            machine.close()


if __name__ == "__main__":
    main(sys.argv[1])
