"""Argument over environment over file over default, for every row; JAEGER_* over OTEL_*."""

from __future__ import annotations

import itertools
import json

import pytest

from tracekit._config import variables
from tracekit._config.schema import SETTINGS
from tracekit.settings import Settings

# By setting: a value for the argument, and one for the file.
SAMPLES = {
    "service_name": ("by-argument", "by-file"),
    "tags": ({"zone": "argument"}, {"zone": "file"}),
    "propagation": (["w3c"], ["b3single"]),
    "extract_order": ("first", "last"),
    "sampler_type": ("const", "probabilistic"),
    "sampler_param": (0.75, 0.5),
    "sampling_endpoint": ("http://argument:1", "http://file:1"),
    "sampler_file": ("/argument", "/file"),
    "transport": ("udp", "otlp-grpc"),
    "endpoint": ("http://argument/x", "http://file/x"),
    "agent_host": ("argument", "file"),
    "agent_port": (1, 2),
    "agent_family": ("ipv6", "any"),
    "agent_protocol": ("compact", "binary"),
    "max_packet_bytes": (1000, 2000),
    "drop_policy": ("newest", "oldest"),
    "headers": ({"a": "argument"}, {"a": "file"}),
    "compression": ("none", "gzip"),
    "semconv": ("both", "current"),
    "also": ("http://argument", "http://file"),
    "instrument": (["by-argument"], ["by-file"]),
    "disabled_instrumentations": (["by-argument"], ["by-file"]),
    "keep": (["errors"], ["slow:1s"]),
    "redact": (["by-argument"], ["by-file"]),
}
# Settings that count only for one receiver, or only beside others.
BESIDE = {
    "jaeger": {"transport": "http", "user": "u", "password": "p"},
    "otlp": {"transport": "otlp-http"},
}
NEEDS = {
    "OTEL_TRACES_SAMPLER_ARG": {"OTEL_TRACES_SAMPLER": "traceidratio"},
    "OTEL_EXPORTER_OTLP_PROTOCOL": {"OTEL_TRACES_EXPORTER": "otlp"},
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": {"OTEL_TRACES_EXPORTER": "otlp"},
    "OTEL_EXPORTER_OTLP_INSECURE": {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:1"},
    "OTEL_EXPORTER_OTLP_TRACES_INSECURE": {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:1"},
}
SOURCES = ("argument", "environment", "file")
SUBSETS = [subset for size in range(4) for subset in itertools.combinations(SOURCES, size)]


def samples(setting):
    if setting in SAMPLES:
        return SAMPLES[setting]
    default = SETTINGS[setting].default
    if isinstance(default, bool):
        return (not default, default)
    if isinstance(default, int | float) or setting.startswith("max_"):
        return (7, 8)
    return ("by-argument", "by-file")


def same(value, expected):
    """Compare on the keys of ``expected``: tags of several sources unite."""
    if isinstance(expected, dict):
        return expected.items() <= value.items()
    return value == expected


def resolve(row, given, directory):
    """Resolve with the sources in ``given`` saying something about the row's setting."""
    argument, in_file = samples(row.setting)
    beside = {
        name: value
        for name, value in BESIDE.get(row.wire, {}).items()
        if name != row.setting and row.setting not in ("endpoint", "transport")
    }
    environ = {"JAEGER_SERVICE_NAME": "x"} if row.setting != "service_name" else {}
    fields = dict(beside)
    if "argument" in given:
        fields[row.setting] = argument
    if "environment" in given:
        environ |= NEEDS.get(row.name, {}) | {row.name: row.example}
    if "file" in given:
        file = directory / "tracekit.json"
        file.write_text(json.dumps({row.setting: in_file}))
        environ["TRACEKIT_CONFIG_FILE"] = str(file)
    return Settings.resolve(environ=environ, **fields), {"argument": argument, "file": in_file}


@pytest.mark.parametrize("row", variables.ROWS, ids=lambda row: row.name)
def test_argument_environment_file_default(row, tmp_path):
    """In every combination of these sources value and source are those of the best one."""
    alone, _ = resolve(row, ("environment",), tmp_path)
    by_environment = alone.flat()[row.setting]
    for given in SUBSETS:
        settings, values = resolve(row, given, tmp_path)
        best = given[0] if given else "default"
        found, source = settings.flat()[row.setting], settings.sources[row.setting]
        if best == "environment":
            assert same(found, by_environment), given
        elif best != "default":
            assert same(found, values[best]), given
        origin = {
            "argument": source.startswith("argument "),
            "environment": source.startswith(("JAEGER_", "OTEL_", "TRACEKIT_")),
            "file": source.startswith(str(tmp_path)),
            "default": source == "default",
        }
        assert origin[best], (given, source)
        if given or row.setting not in ("user", "password"):  # each is bad without the other
            assert settings.problems == (), given


BOTH_FAMILIES = [
    (jaeger, otel)
    for jaeger, otel in itertools.product(variables.ROWS, variables.ROWS)
    if jaeger.setting == otel.setting
    and not jaeger.name.startswith("OTEL_")
    and otel.name.startswith("OTEL_")
    and otel.name not in NEEDS
    and otel.wire == jaeger.wire == ""
]


@pytest.mark.parametrize(
    ("jaeger", "otel"), BOTH_FAMILIES, ids=[f"{a.name}-{b.name}" for a, b in BOTH_FAMILIES]
)
def test_jaegers_variable_beats_otels(jaeger, otel):
    """Whoever moves from a Jaeger client keeps what the deployment says in its words."""
    alone = Settings.from_env({jaeger.name: jaeger.example}).flat()[jaeger.setting]
    both = Settings.from_env({jaeger.name: jaeger.example, otel.name: otel.example})
    assert same(both.flat()[jaeger.setting], alone)
    assert both.sources[jaeger.setting].startswith(jaeger.name)


def test_a_parameter_belongs_to_its_type(tmp_path):
    """The file's rate of a probabilistic sampler says nothing to the environment's const."""
    file = tmp_path / "tracekit.json"
    file.write_text('{"sampler_type": "probabilistic", "sampler_param": 0.25}')
    environ = {"TRACEKIT_CONFIG_FILE": str(file)}
    assert Settings.from_env(environ).sampler.param == 0.25
    const = Settings.from_env({**environ, "JAEGER_SAMPLER_TYPE": "const"})
    assert (const.sampler.type, const.sampler.param) == ("const", 0.0)
    rate = Settings.from_env({**environ, "JAEGER_SAMPLER_PARAM": "0.5"})
    assert (rate.sampler.type, rate.sampler.param) == ("probabilistic", 0.5)


def test_a_bad_type_voids_its_parameter():
    """A parameter meant for a sampler that does not exist is not the remote sampler's."""
    environ = {"JAEGER_SAMPLER_TYPE": "everything", "JAEGER_SAMPLER_PARAM": "1"}
    sampler = Settings.from_env(environ).sampler
    assert (sampler.type, sampler.param) == ("remote", 0.001)


def test_tags_of_all_sources_unite(tmp_path):
    """A deployment adds its tags to the program's; on the same key the better source wins."""
    file = tmp_path / "tracekit.json"
    file.write_text('{"tags": {"a": "file", "b": "file", "c": "file", "d": "file"}}')
    settings = Settings.resolve(
        environ={
            "TRACEKIT_CONFIG_FILE": str(file),
            "OTEL_RESOURCE_ATTRIBUTES": "a=otel,b=otel,c=otel",
            "JAEGER_TAGS": "a=jaeger,b=jaeger",
        },
        tags={"a": "argument"},
    )
    assert settings.flat()["tags"] == {"a": "argument", "b": "jaeger", "c": "otel", "d": "file"}
