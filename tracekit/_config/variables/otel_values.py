"""What OpenTelemetry's variables say, in tracekit's terms: samplers, propagators, OTLP.

Pure functions from texts to values by setting; the variables' names are the environment table's.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from tracekit._config import values as v
from tracekit._display import cited, quoted

_SAMPLERS = {
    "always_on": ("const", 1.0),
    "always_off": ("const", 0.0),
    "traceidratio": ("probabilistic", 1.0),
    "jaeger_remote": ("remote", None),
}
# tracekit follows a caller's decision always, as Jaeger's clients do: both spellings mean the same.
SAMPLER_NAMES = (*_SAMPLERS, *(f"parentbased_{name}" for name in _SAMPLERS))

_PROPAGATORS = {
    "tracecontext": "tracecontext",
    "baggage": "baggage",
    "b3": "b3single",  # what OpenTelemetry calls b3 is the single header
    "b3multi": "b3",
    "jaeger": "jaeger",
    "tracekit": "jaeger",
    "tracekit_b3": "b3",
}

_GRPC_SAMPLING_PORTS = (14250, 5779)


def truth(written: str) -> bool:
    """Return a truth value; for yes OpenTelemetry takes *true* in any case, and nothing else."""
    said = v.boolean(written)
    if said and written.strip().lower() != "true":
        raise ValueError("is not true, the only word for yes in OpenTelemetry's variables")
    return said


def sampler(written: str) -> v.Several:
    """Return type and parameter of a sampler's name; a ratio without argument means all."""
    name = v.one_of(*SAMPLER_NAMES)(written).removeprefix("parentbased_")
    kind, param = _SAMPLERS[name]
    return v.Several({"sampler_type": kind, **({} if param is None else {"sampler_param": param})})


def sampler_argument(written: str, name: str) -> v.Several:
    """Return what the argument says to the sampler ``name``; most samplers take none."""
    name = name.strip().lower().removeprefix("parentbased_")
    if name == "traceidratio":
        return v.Several({"sampler_param": _ratio(written)})
    return _remote_argument(written) if name == "jaeger_remote" else v.Several({})


def _ratio(written: str) -> float:
    ratio = v.number(written)
    if not 0.0 <= ratio <= 1.0:
        raise ValueError("is not between 0 and 1")
    return ratio


def _remote_argument(written: str) -> v.Several:
    """Read ``endpoint=…,pollingIntervalMs=…,initialSamplingRate=…`` (any of them, any order)."""
    entries, complaints = v.percent_pairs(written)
    found: dict[str, object] = {}
    wrong = list(complaints)
    readers = {
        "endpoint": ("sampling_endpoint", sampling_endpoint),
        "pollingintervalms": ("sampler_refresh_s", v.milliseconds),
        "pollinginterval": ("sampler_refresh_s", v.milliseconds),
        "initialsamplingrate": ("sampler_param", _ratio),
    }
    for key, item in entries.items():
        if key.lower() not in readers:
            wrong.append(
                f"{cited(key)} is none of endpoint, pollingIntervalMs, initialSamplingRate"
            )
            continue
        setting, read = readers[key.lower()]
        try:
            found[setting] = read(item)
        except ValueError as error:
            wrong.append(f"{quoted(key)} {error}")
    return v.Several(found, tuple(wrong))


def sampling_endpoint(written: object) -> str:
    """Return the URL of a sampling server given as a URL, as ``grpc://host:port`` or ``host:port``.

    An address without a path on a gRPC sampling port (14250, 5779) means gRPC, as OpenTelemetry's
    specification writes it; any other URL is used as it is, as in Go; any other ``host:port`` gets
    ``/sampling``, as in Node.
    """
    found = v.text(written)
    if "://" not in found:
        found = f"http://{v.host_port(found)}"
        if urlsplit(found).port not in _GRPC_SAMPLING_PORTS:
            found += "/sampling"
    parts = urlsplit(v.url("http", "https", "grpc", "grpcs")(found))
    bare = parts.path in ("", "/") and not parts.query
    if bare and parts.port in _GRPC_SAMPLING_PORTS and parts.scheme.startswith("http"):
        return f"{'grpcs' if parts.scheme == 'https' else 'grpc'}://{parts.netloc}"
    return found


def propagators(written: str) -> v.Several:
    """Return the formats of a list of propagators; the last one that finds a context wins."""
    names = [name.lower() for name in v.names(written)]
    if "none" in names:  # whatever stands beside it, as in OpenTelemetry's SDKs
        return v.Several({"propagation": (), "extract_order": "last"})
    wrong = [
        f"{cited(name)} is not known here and is skipped"
        for name in names
        if name not in _PROPAGATORS
    ]
    formats = [_PROPAGATORS[name] for name in names if name in _PROPAGATORS]
    if not formats:
        return v.Several({}, tuple(wrong))
    if {"tracecontext", "baggage"} <= set(formats):  # both halves of w3c
        formats = [
            "w3c" if name == "tracecontext" else name for name in formats if name != "baggage"
        ]
    return v.Several({"propagation": formats, "extract_order": "last"}, tuple(wrong))


def resource_attributes(written: str) -> v.Several:
    """Return the process tags, and the service's name if it is among them."""
    entries, complaints = v.percent_pairs(written)
    name = entries.pop("service.name", "")
    found: dict[str, object] = {"tags": entries} if entries else {}
    return v.Several(found | ({"service_name": name} if name.strip() else {}), complaints)


def headers(written: str) -> v.Several:
    """Return the headers of ``name=value,…`` (percent-encoded); a bad one costs only itself."""
    entries, complaints = v.percent_pairs(written, secret=True)
    found: dict[str, str] = {}
    wrong = list(complaints)
    for name, item in entries.items():
        try:
            found |= v.headers({name: item})
        except ValueError as error:  # noqa: PERF203 - each for itself
            wrong.append(f"a header {error} and is skipped")
    return v.Several({"headers": found}, tuple(wrong))


def exporter(written: str, protocol: str) -> v.Several:
    """Return the wire that a list of exporters names; Jaeger's is the default.

    Spans go one way: of several exporters, the first of OTLP, Jaeger and the console is taken.
    """
    names = [name.lower() for name in v.names(written)]
    if set(names) == {"none"}:
        return v.Several({"transport": "none"})
    exporters = {"otlp": _wire(protocol), "jaeger": "", "tracekit": "", "console": "console"}
    taken = next((name for name in exporters if name in names), None)
    if taken is None:
        raise ValueError("names no exporter known here (otlp, jaeger, console, none)")
    wrong = [f"{cited(name)} is not known here" for name in names if name not in exporters]
    wrong += [
        f"{cited(name)} is skipped beside {taken!r}"
        for name in names
        if name in exporters and exporters[name] != exporters[taken]
    ]
    return v.Several({"transport": exporters[taken]} if exporters[taken] else {}, tuple(wrong))


def endpoint(written: str, protocol: str, *, insecure: str = "", base: bool = False) -> v.Several:
    """Return wire and URL of an OTLP endpoint.

    A ``base`` gets ``/v1/traces`` for HTTP, as the specification says. Without a protocol, port
    4317 means gRPC: HTTP is not spoken there.
    """
    found = v.text(written)
    if "://" not in found:  # gRPC's target form
        plain = insecure.strip().lower() == "true"
        found = f"{'http' if plain else 'https'}://{v.host_port(found)}"
    parts = urlsplit(v.url("http", "https")(found))
    kind = "otlp-grpc" if not protocol.strip() and parts.port == 4317 else _wire(protocol)
    if kind == "otlp-grpc":
        found = f"{parts.scheme}://{parts.netloc}"
    elif base:
        found = parts._replace(path=parts.path.rstrip("/") + "/v1/traces").geturl()
    return v.Several({"transport": kind, "endpoint": found})


def protocol(written: str) -> v.Several:
    """Check a protocol; it takes effect with the endpoint or the exporter beside it."""
    v.one_of("http/protobuf", "grpc")(written)
    return v.Several({})


def _wire(protocol_: str) -> str:
    return "otlp-grpc" if protocol_.strip().lower() == "grpc" else "otlp-http"


def timeout(written: str) -> v.Several:
    """Return a timeout; plain numbers are milliseconds, as the specification says."""
    seconds = v.milliseconds(written)
    doubtful = written.strip().isdigit() and 0 < seconds < 0.1
    note = "is read as milliseconds; OpenTelemetry's Python SDK reads seconds, so write a unit"
    return v.Several({"timeout_s": seconds}, note=note if doubtful else "")


def stability(written: str) -> v.Several:
    """Return whether attributes come under both their names (``http/dup`` or ``rpc/dup``)."""
    names = v.names(written.lower())
    return v.Several({"semconv": "both"} if {"http/dup", "rpc/dup"} & {*names} else {})


def insecure(written: str) -> v.Several:
    """Check the switch for plain text; it takes effect with an endpoint that names no scheme."""
    truth(written)
    return v.Several({})
