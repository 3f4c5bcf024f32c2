"""What a tracer writes into carriers, and reads from them: JSON, one line a question.

    python carriers.py jaeger_client|tracekit.jaeger_client < questions.json

Runs on old Pythons, which jaeger_client was made for.
"""

import importlib
import json
import sys

from opentracing import Format, SpanContextCorruptedException


def written(package, tracer, parts):
    context = package.SpanContext(*parts)
    found = {}
    for form, carrier in ((Format.TEXT_MAP, {}), (Format.HTTP_HEADERS, {})):
        tracer.inject(context, form, carrier)
        line = carrier.pop("uber-trace-id")
        found[form] = [[int(part, 16) for part in line.split(":")], carrier]
    binary = bytearray(b"")
    tracer.inject(context, Format.BINARY, binary)
    found[Format.BINARY] = binary.hex()
    return found


def read(tracer, form, carrier):
    try:
        context = tracer.extract(form, carrier)
    except SpanContextCorruptedException:
        context = None
    if context is None:
        return None
    return {
        "ids": [context.trace_id, context.span_id, context.parent_id, context.flags],
        "baggage": dict(context.baggage),
        "debug_id": context.debug_id,
        "has_trace": context.has_trace,
        "debug_id_only": context.is_debug_id_container_only,
    }


def main(module):
    package = importlib.import_module(module)
    reporter = importlib.import_module(module + ".reporter").NullReporter()
    tracer = package.Tracer("shop", reporter, package.ConstSampler(True))
    for question in json.load(sys.stdin):
        if "write" in question:
            answer = written(package, tracer, question["write"])
        elif question["form"] == Format.BINARY:
            answer = read(tracer, Format.BINARY, bytearray.fromhex(question["read"]))
        else:
            answer = read(tracer, question["form"], question["read"])
        print(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1])
