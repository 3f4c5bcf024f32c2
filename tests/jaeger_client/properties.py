"""What a ``Config`` and its tracer say of themselves: JSON, one line a case.

    python properties.py jaeger_client|tracekit.jaeger_client < cases.json

Runs on old Pythons, which jaeger_client was made for.
"""

import importlib
import json
import os
import sys

PLAIN = (
    "service_name",
    "metrics",
    "enabled",
    "reporter_batch_size",
    "reporter_queue_size",
    "logging",
    "trace_id_header",
    "generate_128bit_trace_id",
    "baggage_header_prefix",
    "max_tag_value_length",
    "max_traceback_length",
    "sampling_refresh_interval",
    "reporter_flush_interval",
    "local_agent_enabled",
    "local_agent_sampling_port",
    "local_agent_reporting_port",
    "local_agent_reporting_host",
    "debug_id_header",
    "max_operations",
    "tags",
    "throttler_port",
    "throttler_refresh_interval",
)
OF_TRACERS = (
    "service_name",
    "debug_id_header",
    "max_tag_value_length",
    "max_traceback_length",
    "max_trace_id_bits",
    "one_span_per_rpc",
    "throttler",
)


def told(read):
    try:
        return read()
    except Exception as error:
        return type(error).__name__


def properties(module, config, environ):
    os.environ.update(environ)
    try:
        made = importlib.import_module(module).Config(config, service_name="default")
        found = {name: told(lambda name=name: getattr(made, name)) for name in PLAIN}
        found["sampler"] = told(lambda: made.sampler and str(made.sampler))
        found["propagation"] = sorted(made.propagation)
        found["local_agent_group"] = made.local_agent_group()
        found["throttler_group"] = made.throttler_group()
        reporter = importlib.import_module(module + ".reporter").InMemoryReporter()
        sampler = importlib.import_module(module).ConstSampler(True)
        tracer = made.create_tracer(reporter, sampler)
        found["tracer"] = {name: getattr(tracer, name) for name in OF_TRACERS}
        found["formats"] = sorted(tracer.codecs)
        found["tracer.tags"] = {
            key: value for key, value in tracer.tags.items() if key in ("hostname", "zone", "n")
        }
        return found
    finally:
        for name in environ:
            del os.environ[name]


if __name__ == "__main__":
    for config, environ in json.load(sys.stdin):
        print(json.dumps(properties(sys.argv[1], config, environ)))
