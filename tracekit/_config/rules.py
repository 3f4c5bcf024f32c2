"""From layers to one value a setting: who wins, what follows from what, what contradicts.

Rules that hold between settings live here and nowhere else. Where Jaeger's clients differ among
each other, the function that decides says whom it follows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from tracekit._config import values as v
from tracekit._config.layers import Complaint, Given, Layer, shown
from tracekit._config.schema import SETTINGS
from tracekit._config.transports import TRANSPORTS
from tracekit._config.variables import variable
from tracekit.errors import Problem
from tracekit.sampling._sampler import INITIAL_RATE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_DEFAULT = "default"
_DEFAULT_PARAM = {"const": 0.0, "ratelimiting": 0.0}
_OTLP_PORTS = (4317, 4318)
_COLLECTORS_BATCH = 512
"""Spans: what OpenTelemetry's SDKs send at once, so what every receiver is sized for. A Jaeger
collector's queue holds 2000, and what overflows is dropped after it has answered 2xx."""


class Resolved(NamedTuple):
    """The outcome: a value and a source for every setting, what was bad, what is worth saying."""

    values: Mapping[str, object]
    sources: Mapping[str, str]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]


def resolve(layers: Sequence[Layer]) -> Resolved:
    """Merge ``layers``, best first. Never raises."""
    choice = _Choice(layers)
    choice.merge()
    problems = tuple(
        Problem(bad.name, bad.written, bad.message, choice.used(bad)) for bad in choice.complaints
    )
    if choice.values["disabled"]:  # beats every validation
        problems, choice.notes = (), []
    return Resolved(choice.values, choice.sources, problems, tuple(choice.notes))


class _Choice:
    """The work of one ``resolve``: what is chosen so far, under which name it may be blamed."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = layers
        self.complaints = [bad for layer in layers for bad in layer.complaints]
        self.notes = [note for layer in layers for note in layer.notes]
        self.values: dict[str, object] = {}
        self.sources: dict[str, str] = {}
        self._chosen: dict[str, Given] = {}

    def merge(self) -> None:
        kind = self._destination()
        for name, setting in SETTINGS.items():
            self._set(
                name,
                self._first(name, TRANSPORTS[str(kind.value)].receivers)
                or Given(setting.default, _DEFAULT),
            )
        self._set("transport", kind)
        self._merge_tags()
        self._extract_order()
        self._transport()
        self._sampler()
        if self.values["service_name"] is None:
            self._derive("service_name", "unknown_service:python")
            self.notes.append(f"the service has no name; set {variable('service_name')}")
        self._max_batch_spans(str(kind.value))

    def used(self, bad: Complaint) -> str:
        if bad.setting is None or bad.setting not in self.values:
            return "nothing of it"
        if self.values[bad.setting] is None:
            return "none"
        value = shown(bad.setting, self.values[bad.setting])
        source = self.sources[bad.setting]
        chosen = self._chosen.get(bad.setting)
        same = source in (_DEFAULT, bad.name) or (chosen is not None and chosen.called == bad.name)
        return f"{value!r}" if same else f"{value!r} from {source}"

    def _first(self, name: str, wires: tuple[str, ...]) -> Given | None:
        for layer in self.layers:
            if given := layer.first(name, wires):
                return given
        return None

    def _set(self, name: str, given: Given) -> None:
        self.values[name], self.sources[name] = given.value, given.source
        self._chosen[name] = given

    def _derive(self, name: str, value: object, source: str = _DEFAULT) -> None:
        self.values[name], self.sources[name] = value, source
        self._chosen.pop(name, None)

    def _correct(self, name: str, value: object, message: str) -> None:
        """Complain about the chosen value of ``name`` and use ``value`` instead."""
        given = self._chosen[name]
        called = given.called or name  # nobody gave it: a default contradicts what somebody gave
        written = given.written or str(shown(name, given.value))
        self.complaints.append(Complaint(name, called, written, message))
        self.values[name] = value

    def _asked_for(self, *names: str) -> bool:
        return any(self.sources[name] != _DEFAULT for name in names)

    def _number(self, name: str) -> float:
        value = self.values[name]
        return float(value) if isinstance(value, int | float) else 0.0

    def _destination(self) -> Given:
        """Choose the wire: the best layer that says anything about a destination decides.

        Within one layer: the transport by name, then an endpoint (it beats the agent in every
        Jaeger client), then an agent. OTLP's variables name the transport of their layer.
        """
        found: Given | None = None
        for given in filter(None, map(_destination_in, self.layers)):
            if found is None:
                found = given
            elif given.wire == "otlp" and not str(found.value).startswith("otlp"):
                self.notes.append(f"{given.source} is not used: {found.source} says where spans go")
        return found or Given(SETTINGS["transport"].default, _DEFAULT)

    def _merge_tags(self) -> None:
        """Unite the tags of all layers, key by key (as Python's client did with its two)."""
        merged: dict[str, str] = {}
        sources: list[str] = []
        for layer in reversed(self.layers):
            for given in reversed(layer.given.get("tags", [])):
                merged.update(given.value)  # type: ignore[call-overload] # checked as pairs
                sources.insert(0, given.source)
        if sources:
            self._derive("tags", SETTINGS["tags"].check(merged), ", ".join(sources))

    def _extract_order(self) -> None:
        """Drop the order that belongs to a list of formats which lost (OTEL_PROPAGATORS)."""
        for layer in self.layers:
            order, beside = layer.first("extract_order"), layer.first("propagation")
            if order is None:
                continue
            said_both = beside is not None and beside.source == order.source
            if not said_both or order.source == self.sources["propagation"]:
                self._set("extract_order", order)
                return
        self._derive("extract_order", SETTINGS["extract_order"].default)

    def _transport(self) -> None:
        kind = str(self.values["transport"])
        if TRANSPORTS[kind].endpoint is None:
            self._derive("endpoint", None)
            return
        if self.values["endpoint"] is None:
            self._default_endpoint(kind)
        elif kind == "http" and urlsplit(str(self.values["endpoint"])).port in _OTLP_PORTS:
            self.notes.append(
                f"{self.sources['endpoint']}: that port speaks OTLP, not Thrift;"
                f" set {variable('transport')} to otlp-http (4318) or otlp-grpc (4317)"
            )
        if kind != "http" and self.sources["timeout_s"] == _DEFAULT:
            self._derive("timeout_s", 10.0)  # OTLP's default; 5 s is the Jaeger clients'
        for name, other in (("user", "password"), ("password", "user")):
            if self.values[name] is not None and self.values[other] is None:
                self._correct(name, None, f"is given without {other}: no basic authentication")

    def _default_endpoint(self, kind: str) -> None:
        """Choose where to when nobody said it for this wire.

        Jaeger's endpoint is for Thrift. But if OTLP was asked for by name and that endpoint is on
        an OTLP port, the host is meant and the path is left over from before.
        """
        default = TRANSPORTS[kind].endpoint
        given = self._first("endpoint", ("jaeger",)) if kind.startswith("otlp") else None
        if given is None:
            self._derive("endpoint", default)
            return
        url = urlsplit(str(given.value))
        if url.port in _OTLP_PORTS:
            path = TRANSPORTS[kind].path
            self._derive("endpoint", f"{url.scheme}://{url.netloc}{path}", given.source)
            return
        self._derive("endpoint", default)
        self.notes.append(f"{given.source} is not used: it is for Thrift, and spans go by OTLP")

    def _max_batch_spans(self, kind: str) -> None:
        """Bound a batch by its spans where its bytes are no bound that receivers can live with.

        A datagram is full before it holds a receiver's queue.
        """
        default = _COLLECTORS_BATCH if TRANSPORTS[kind].endpoint else None
        if self.values["max_batch_spans"] is None:
            self._derive("max_batch_spans", default)
        elif self._number("max_batch_spans") > self._number("queue_size"):
            self._correct("max_batch_spans", default, "is more than the queue holds")

    def _sampler(self) -> None:
        if self.values["sampler_file"] is not None and not self._asked_for("sampler_type"):
            self._derive("sampler_type", "file", self.sources["sampler_file"])
        if self.values["sampler_type"] == "file" and self.values["sampler_file"] is None:
            self._correct("sampler_type", "remote", "is given without sampler_file")
        kind = str(self.values["sampler_type"])
        self._sampler_param(kind)
        if kind == "remote" and self.values["sampling_endpoint"] is None:
            self._sampling_endpoint()

    def _sampler_param(self, kind: str) -> None:
        param = self._param_of(kind)
        default = _DEFAULT_PARAM.get(kind, INITIAL_RATE)
        if param is None:
            if kind in ("const", "probabilistic", "ratelimiting"):
                self.notes.append(f"the {kind} sampler has no parameter; as in Java, {default:g}")
            self._derive("sampler_param", default)
            return
        self._set("sampler_param", param)
        value = self._number("sampler_param")
        if kind == "const" and value not in (0.0, 1.0):
            self._correct("sampler_param", 1.0, "is neither 0 nor 1; const takes all but 0 as 1")
        elif kind in ("probabilistic", "remote", "file") and not 0.0 <= value <= 1.0:
            self._correct("sampler_param", min(max(value, 0.0), 1.0), "is not between 0 and 1")
        elif kind == "ratelimiting" and value < 0.0:
            self._correct("sampler_param", 0.0, "is below 0 traces per second")

    def _param_of(self, kind: str) -> Given | None:
        """Return the best parameter that was meant for ``kind``.

        A parameter belongs to the type that stands beside it: 0.001 for a probabilistic sampler in
        the file says nothing to a const sampler in the environment.
        """
        for layer in self.layers:
            param = layer.first("sampler_param")
            beside = layer.first("sampler_type")
            if param is None or (beside is not None and beside.value != kind):
                continue
            if beside is None and any(bad.setting == "sampler_type" for bad in layer.complaints):
                continue
            return param
        return None

    def _sampling_endpoint(self) -> None:
        """As Go: the sampling port of the agent's host, on this machine unless told otherwise.

        Without an agent (an endpoint was given) nobody would answer there: it is asked only when
        the remote sampler was asked for by name.
        """
        from_host = self.sources["agent_host"] != _DEFAULT
        if from_host:
            name = v.bracketed(str(self.values["agent_host"]))
            source = self.sources["agent_host"]
        elif self.values["transport"] == "udp" or self._asked_for("sampler_type", "sampling_port"):
            name, source = "127.0.0.1", _DEFAULT
        else:
            return
        port = self.values["sampling_port"]
        self._derive("sampling_endpoint", f"http://{name}:{port}/sampling", source)


def _destination_in(layer: Layer) -> Given | None:
    if given := layer.first("transport", ("", "otlp")):
        return given
    if given := layer.first("endpoint", ("", "jaeger")):
        return Given("http", given.source)
    if given := layer.first("agent_host") or layer.first("agent_port"):
        return Given("udp", given.source)
    return None
