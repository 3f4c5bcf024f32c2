"""Configuration files: tracekit's own keys, or a Kubernetes ``TracingConfiguration``.

YAML (extra ``yaml``) or JSON. The keys of tracekit's own form are the flat names of the settings;
under the name of a part (``sampler:``) stand its attributes. Every value knows its line.
"""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tracekit._config import values as v
from tracekit._config.layers import Layer, did_you_mean
from tracekit._config.schema import PARTS, SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import yaml

_MAX_BYTES = 2**20
_MAX_NODES = 20_000
"""Of a YAML file, aliases counted as often as they stand there."""
_TAG = "tag:yaml.org,2002:"
_KUBERNETES_GROUP = "apiserver.config.k8s.io"
_KUBERNETES_VERSIONS = ("v1alpha1", "v1beta1", "v1")
_KUBERNETES_KEYS = ("apiVersion", "kind", "endpoint", "samplingRatePerMillion")


class Entry(NamedTuple):
    """One key of a mapping; ``value`` may be ``Entries`` again."""

    key: str
    value: object
    line: int


class Entries(list[Entry]):
    """A mapping of the file, its keys in order."""


class UnreadableError(ValueError):
    """A file without a mapping in it; ``line`` is 0 where no line is to blame."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


def read(path: str, named_by: str) -> Layer:
    """Return the layer of the file at ``path``, which ``named_by`` named. Never raises."""
    layer = Layer()
    try:
        entries = _parse(_text(path), path)
    except UnreadableError as error:
        name = f"{path}:{error.line}" if error.line else named_by
        layer.complain(None, name, path, str(error))
        return layer
    if any(entry.key == "kind" for entry in entries):
        _kubernetes(entries, path, layer)
    else:
        _own(entries, path, layer)
    return layer


def _own(entries: Entries, path: str, layer: Layer) -> None:
    for entry in entries:
        if entry.key in PARTS and isinstance(entry.value, Entries | None):
            for inner in entry.value or ():
                name = PARTS[entry.key].get(inner.key)
                _give(name, inner, PARTS[entry.key], path, layer)
        else:
            name = entry.key if entry.key in SETTINGS else None
            _give(name, entry, (*SETTINGS, *PARTS), path, layer)


def _give(name: str | None, entry: Entry, known: Iterable[str], path: str, layer: Layer) -> None:
    source = f"{path}:{entry.line}"
    if name is None:
        layer.complain(
            None, f"{source}: {entry.key}", "", f"is no setting{did_you_mean(entry.key, known)}"
        )
    elif entry.value is not None:
        layer.give(name, _plain(entry.value), source, called=f"{source}: {entry.key}")


def _kubernetes(entries: Entries, path: str, layer: Layer) -> None:
    """Read the API server's file: OTLP over gRPC, in plain text, W3C headers, rate per million.

    Without a rate only what a caller sampled is recorded, as in Kubernetes.
    """
    found = {entry.key: entry for entry in entries}
    for entry in entries:
        if entry.key not in _KUBERNETES_KEYS:
            _give(None, entry, _KUBERNETES_KEYS, path, layer)
    kind = found["kind"]
    if kind.value != "TracingConfiguration":
        layer.complain(None, f"{path}:{kind.line}: kind", kind.value, "is not TracingConfiguration")
        return
    version = found.get("apiVersion", kind)
    if version.value not in [f"{_KUBERNETES_GROUP}/{known}" for known in _KUBERNETES_VERSIONS]:
        wants = f"is not {_KUBERNETES_GROUP}/{' or '.join(_KUBERNETES_VERSIONS)}"
        layer.complain(None, f"{path}:{version.line}: apiVersion", version.value, wants)
    source = f"{path}:{kind.line}"
    layer.give("transport", "otlp-grpc", source)
    layer.give("propagation", "w3c", source)
    endpoint = found.get("endpoint", Entry("endpoint", "localhost:4317", kind.line))
    rate = found.get("samplingRatePerMillion", Entry("samplingRatePerMillion", 0, kind.line))
    _kubernetes_endpoint(endpoint, path, layer)
    _kubernetes_rate(rate, path, layer)


def _kubernetes_endpoint(entry: Entry, path: str, layer: Layer) -> None:
    source = f"{path}:{entry.line}"
    try:
        layer.give("endpoint", f"http://{_kubernetes_target(entry.value)}", source)
    except ValueError as error:
        layer.complain("endpoint", f"{source}: {entry.key}", entry.value, str(error))


def _kubernetes_target(written: object) -> str:
    target = v.text(written).removeprefix("dns:///").removeprefix("dns:")
    if "://" in target or target.startswith("unix"):
        raise ValueError("is not host:port (other schemes than dns are not spoken here)")
    return v.host_port(target)


def _kubernetes_rate(entry: Entry, path: str, layer: Layer) -> None:
    source = f"{path}:{entry.line}"
    try:
        rate = v.integer(0, 1_000_000)(0 if entry.value is None else entry.value)
    except ValueError as error:
        layer.complain("sampler_param", f"{source}: {entry.key}", entry.value, str(error))
        rate = 0
    layer.give("sampler_type", "probabilistic" if rate else "const", source)
    layer.give("sampler_param", rate / 1_000_000, source)


def _text(path: str) -> str:
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise UnreadableError("is not a regular file")
        with Path(path).open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise UnreadableError(f"is larger than {_MAX_BYTES} bytes")
        return content.decode("utf-8-sig")
    except OSError as error:
        raise UnreadableError(f"cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise UnreadableError("is not UTF-8") from None
    except ValueError as error:  # a NUL in the path
        raise error if isinstance(error, UnreadableError) else UnreadableError(str(error)) from None


def _parse(text: str, path: str) -> Entries:
    try:
        suffix = Path(path).suffix
        if suffix == ".json" or (suffix not in (".yaml", ".yml") and text.lstrip().startswith("{")):
            return _parse_json(text)
        return _parse_yaml(text)
    except RecursionError:
        raise UnreadableError("is nested too deeply") from None


def _parse_json(text: str) -> Entries:
    try:
        document = json.loads(text, object_pairs_hook=_Pairs)
    except json.JSONDecodeError as error:
        raise UnreadableError(f"is no JSON: {error.msg}", error.lineno) from None
    except ValueError as error:  # a number of more digits than Python converts
        raise UnreadableError(f"is no JSON: {error}") from None
    if not isinstance(document, _Pairs):
        raise UnreadableError("holds no mapping", 1)
    return _located(document, text, 0)


class _Pairs(list[tuple[str, object]]):
    """An object of a JSON text, its keys in order."""


def _located(pairs: _Pairs, text: str, start: int) -> Entries:
    """Find the line of each key: JSON's reader does not tell, so they are sought in order."""
    entries = Entries()
    for key, value in pairs:
        quoted = re.compile(re.escape(json.dumps(key, ensure_ascii=False)) + r"\s*:")
        found = quoted.search(text, start)
        start = found.end() if found else start
        inner = _located(value, text, start) if isinstance(value, _Pairs) else value
        entries.append(Entry(key, inner, text.count("\n", 0, start) + 1))
    return entries


class _Yaml:
    """Turns the nodes of a YAML file into entries, as many as a file of settings may have.

    An alias of a mapping counts each time that it stands somewhere: a few bytes could otherwise
    become seconds and hundreds of megabytes. A list is the same list wherever it stands.
    """

    def __init__(self, scalar: Callable[[yaml.Node], object]) -> None:
        self._scalar = scalar
        self._seen = 0
        self._lists: dict[int, list[object]] = {}

    def mapping(self, node: yaml.Node) -> Entries:
        """Return the entries of a mapping."""
        pairs = self._pairs(node)
        return Entries(Entry(name, self._value(value), line) for name, value, line in pairs)

    def _value(self, node: yaml.Node) -> object:
        self._count(node)
        if node.tag == f"{_TAG}map":
            return self.mapping(node)
        if node.tag == f"{_TAG}seq":
            found = self._lists.get(id(node))
            if found is None:
                found = self._lists[id(node)] = []
                found += [self._value(item) for item in node.value]
            return found
        if not isinstance(node.value, str):
            raise UnreadableError(f"is no YAML for settings: {node.tag}", _line(node))
        return self._scalar(node)

    def _pairs(self, node: yaml.Node) -> list[tuple[str, yaml.Node, int]]:
        """Return the keys of a mapping, then those merged into it (``<<``), each once."""
        self._count(node)
        own: dict[str, tuple[str, yaml.Node, int]] = {}
        merged: list[yaml.Node] = []
        for key, value in node.value:
            if key.tag == f"{_TAG}merge":
                merged += value.value if value.tag == f"{_TAG}seq" else [value]
            elif isinstance(key.value, str):
                name = str(self._value(key))
                own[name] = (name, value, _line(key))
            else:
                raise UnreadableError("has a key that is no text", _line(key))
        for other in merged:
            if other.tag != f"{_TAG}map":
                raise UnreadableError("merges what is no mapping", _line(other))
            for pair in self._pairs(other):
                own.setdefault(pair[0], pair)
        return list(own.values())

    def _count(self, node: yaml.Node) -> None:
        self._seen += 1
        if self._seen > _MAX_NODES:
            raise UnreadableError("says far too much, by aliases", _line(node))


def _line(node: yaml.Node) -> int:
    line: int = node.start_mark.line + 1
    return line


def _parse_yaml(text: str) -> Entries:
    try:
        import yaml  # noqa: PLC0415 (an extra: only who writes YAML needs it)
    except ImportError:
        raise UnreadableError(
            "needs PyYAML: pip install 'tracekit-jaeger[yaml]' (or write JSON)"
        ) from None

    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return Entries()
        if not isinstance(node, yaml.MappingNode):
            raise UnreadableError("holds no mapping", _line(node))
        return _Yaml(loader.construct_object).mapping(node)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise UnreadableError(f"is no YAML: {error.problem or error.context}", line) from None
    except (yaml.YAMLError, ValueError) as error:
        if isinstance(error, UnreadableError):
            raise
        raise UnreadableError(f"is no YAML: {error}".splitlines()[0]) from None


def _plain(value: object) -> object:
    """Return entries as a dictionary again (tags and headers are mappings)."""
    if isinstance(value, Entries):
        return {item.key: _plain(item.value) for item in value}
    return value
