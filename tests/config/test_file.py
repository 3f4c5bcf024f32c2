"""Configuration files: tracekit's own keys with their lines, and Kubernetes' tracing file."""

from __future__ import annotations

import os
import sys
import textwrap
import time

import pytest

from tracekit.errors import ConfigError
from tracekit.settings import Settings

OWN_YAML = """\
# a comment, so that lines count
service_name: checkout
tags:
  zone: eu
  replica: 3
sampler:
  type: ratelimiting
  param: 2.5
flush_s: 500ms
propagation: [w3c, b3]
"""
OWN_JSON = """\
{
  "service_name": "checkout",
  "tags": {"zone": "eu", "replica": 3},
  "sampler": {
    "type": "ratelimiting",
    "param": 2.5
  },
  "flush_s": "500ms", "propagation": ["w3c", "b3"]
}
"""
KUBERNETES = """\
apiVersion: apiserver.config.k8s.io/{version}
kind: TracingConfiguration
endpoint: collector.tracing:4317
samplingRatePerMillion: 100
"""


@pytest.fixture
def write(tmp_path):
    def write(content, name="tracekit.yaml"):
        file = tmp_path / name
        file.write_text(textwrap.dedent(content), encoding="utf-8")
        return str(file)

    return write


def lines(settings):
    return {
        name: int(source.rpartition(":")[2])
        for name, source in settings.sources.items()
        if source != "default"
    }


@pytest.mark.parametrize(
    ("name", "content", "where"),
    [
        ("t.yaml", OWN_YAML, {"service_name": 2, "tags": 3, "sampler_type": 7, "sampler_param": 8,
                              "flush_s": 9, "propagation": 10}),
        ("t.json", OWN_JSON, {"service_name": 2, "tags": 3, "sampler_type": 5, "sampler_param": 6,
                              "flush_s": 8, "propagation": 8}),
        ("braces-without-a-suffix", OWN_JSON, None),
    ],
)  # fmt: skip
def test_names_and_sections_with_their_lines(write, name, content, where):
    """YAML and JSON say the same, and each value knows its line."""
    settings = Settings.from_file(write(content, name), strict=True)
    flat = settings.flat()
    assert flat["service_name"] == "checkout"
    assert flat["tags"] == {"zone": "eu", "replica": "3"}
    assert (flat["sampler_type"], flat["sampler_param"]) == ("ratelimiting", 2.5)
    assert (flat["flush_s"], flat["propagation"]) == (0.5, ["w3c", "b3"])
    assert where is None or lines(settings) == where


@pytest.mark.parametrize("name", ["t.yaml", "t.json"])
def test_an_unknown_key_is_a_problem(write, name):
    """Mistyped keys are told with line and suggestion; the other keys count."""
    path = write('{\n"sampler": {"typ": "const"},\n"queue_sise": 5,\n"log_spans": true}', name)
    settings = Settings.from_file(path)
    assert [(bad.name, bad.message) for bad in settings.problems] == [
        (f"{path}:2: typ", "is no setting; did you mean 'type'?"),
        (f"{path}:3: queue_sise", "is no setting; did you mean 'queue_size'?"),
    ]
    assert settings.reporter.log_spans
    with pytest.raises(ConfigError, match="did you mean 'queue_size'"):
        Settings.from_file(path, strict=True)


def test_a_bad_value_is_told_with_its_line(write):
    """What is used instead is said as well."""
    path = write("\nagent_port: sixty\n")
    (bad,) = Settings.from_file(path).problems
    assert bad == (f"{path}:2: agent_port", "sixty", "is not a whole number", "6831")


def test_a_key_without_a_value_is_unset(write):
    """``agent_host:`` with nothing behind it is what a template leaves."""
    settings = Settings.from_file(write("agent_host:\nsampler:\n"), strict=True)
    assert settings.transport.agent_host == "localhost"


@pytest.mark.parametrize("version", ["v1alpha1", "v1beta1", "v1"])
def test_a_kubernetes_file_is_understood(write, version):
    """The API server's file: OTLP over gRPC, W3C headers, rate per million."""
    settings = Settings.from_file(write(KUBERNETES.format(version=version)), strict=True)
    assert settings.transport.kind == "otlp-grpc"
    assert settings.transport.endpoint == "http://collector.tracing:4317"
    assert settings.propagation == ("w3c",)
    assert (settings.sampler.type, settings.sampler.param) == ("probabilistic", 0.0001)
    assert lines(settings)["sampler_param"] == 4


@pytest.mark.parametrize(
    ("rate", "expected"),
    [("", ("const", 0.0)), ("0", ("const", 0.0)), ("1000000", ("probabilistic", 1.0))],
)
def test_without_a_rate_the_caller_decides(write, rate, expected):
    """As in Kubernetes: unset and 0 start no trace."""
    content = KUBERNETES.format(version="v1").replace("100", rate)
    settings = Settings.from_file(write(content), strict=True)
    assert (settings.sampler.type, settings.sampler.param) == expected


def test_kubernetes_defaults_are_its_own(write):
    """No endpoint means the collector beside the process; no rate, nothing of its own."""
    path = write("apiVersion: apiserver.config.k8s.io/v1\nkind: TracingConfiguration\n")
    settings = Settings.from_file(path, strict=True)
    assert settings.transport.endpoint == "http://localhost:4317"
    assert (settings.sampler.type, settings.sampler.param) == ("const", 0.0)


@pytest.mark.parametrize(
    ("change", "to", "blamed", "message"),
    [
        ("v1\n", "v2\n", "1: apiVersion", "v1beta1"),
        ("TracingConfiguration", "KubeletConfiguration", "2: kind", "TracingConfiguration"),
        ("collector.tracing:4317", "unix:///var/run/otlp.sock", "3: endpoint", "other schemes"),
        ("collector.tracing:4317", "http://collector:4317", "3: endpoint", "other schemes"),
        ("100", "1000001", "4: samplingRatePerMillion", "1000000"),
        ("samplingRatePerMillion", "samplingRate", "4: samplingRate", "no setting"),
    ],
)
def test_a_kubernetes_mistake_is_named(write, change, to, blamed, message):
    """Key and line of each mistake."""
    path = write(KUBERNETES.format(version="v1").replace(change, to))
    (bad,) = Settings.from_file(path).problems
    assert bad.name == f"{path}:{blamed}"
    assert message in bad.message


@pytest.mark.parametrize(
    ("name", "content", "message", "line"),
    [
        ("t.yaml", "a: [1\nb: 2", "is no YAML", 2),
        ("t.yaml", "- a\n", "holds no mapping", 1),
        ("t.yaml", "a: !!python/object/apply:os.system [true]", "is no YAML", 1),
        ("t.yaml", "a: *nobody", "is no YAML", 1),
        ("t.json", '{"a":\n}', "is no JSON", 2),
        ("t.json", "[1]", "holds no mapping", 1),
        ("t.json", '{"a": ' + "[" * 100_000, "is nested too deeply", 0),
        ("t.yaml", "a: " + "[" * 10_000, "is nested too deeply", 0),
        ("t.json", '{"a": "' + "x" * 2**20 + '"}', "is larger than 1048576 bytes", 0),
    ],
    ids=["broken", "list", "python object", "alias", "broken json", "json list", "deep json",
         "deep yaml", "huge"],
)  # fmt: skip
def test_an_unreadable_file_is_one_problem(write, name, content, message, line):
    """Broken, hostile or huge: one problem, at its line where there is one."""
    path = write(content, name)
    (bad,) = Settings.from_file(path).problems
    assert bad.message.startswith(message)
    assert bad.name == (f"{path}:{line}" if line else "file")
    assert bad.value == path


def test_a_missing_file_is_a_problem(tmp_path):
    """The variable that names it is told; the service starts without it."""
    path = str(tmp_path / "missing.yaml")
    (bad,) = Settings.from_env({"TRACEKIT_CONFIG_FILE": path}).problems
    assert (bad.name, bad.value) == ("TRACEKIT_CONFIG_FILE", path)
    assert bad.message == "cannot be read: No such file or directory"


def test_a_pipe_or_a_directory_is_refused(tmp_path):
    """Opening a pipe would wait for a writer for ever."""
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path):
        (bad,) = Settings.from_file(path).problems
        assert bad.message == "is not a regular file"


def test_an_alias_bomb_is_shown_shortly(write):
    """Nine levels of nine aliases are a gigabyte of text if anybody prints them."""
    levels = "\n".join(f"x{i + 1}: &x{i + 1} [{', '.join([f'*x{i}'] * 9)}]" for i in range(9))
    path = write(f"x0: &x0 [lol]\n{levels}\nservice_name: *x9\n")
    bad = Settings.from_file(path).problems[-1]
    assert bad.name.endswith("service_name")
    assert len(bad.value) <= 201


def test_yaml_without_its_extra_names_it(write, monkeypatch):
    """JSON works without; for YAML the message names the extra."""
    path = write(OWN_YAML)
    monkeypatch.setitem(sys.modules, "yaml", None)
    (bad,) = Settings.from_file(path).problems
    assert "pip install 'tracekit-jaeger[yaml]'" in bad.message
    assert Settings.from_file(write(OWN_JSON, "t.json")).problems == ()


def aliases(depth, *, merge=False):
    """A small file whose aliases, each standing twice in the next, say 2 to the power of depth."""
    head = "a0: &a0 {x: 1}\n"
    form = "a{n}: &a{n} {{<<: [*a{m}, *a{m}]}}\n" if merge else "a{n}: &a{n} [*a{m}, *a{m}]\n"
    return head + "".join(form.format(n=n, m=n - 1) for n in range(1, depth))


@pytest.mark.parametrize(
    "text",
    [
        aliases(60),
        aliases(60, merge=True),
        aliases(40).replace("[", "{k: ").replace(", *", ", l: *").replace("]", "}"),
        "a: &a [*a]\n",
        "a: &a {b: *a}\n",
        "a: &a {<<: *a}\n",
        "? [a, b]\n: 1\n",
        "<<: 1\n",
    ],
    ids=["lists", "merges", "mappings", "itself", "in itself", "merged", "key", "scalar"],
)
def test_a_hostile_yaml_is_refused_quickly(text, tmp_path):
    """Its few bytes must not become seconds and hundreds of megabytes."""
    pytest.importorskip("yaml")
    file = tmp_path / "tracing.yaml"
    file.write_text(f"service_name: shop\n{text}", encoding="utf-8")
    began = time.process_time()
    settings = Settings.from_file(file)
    assert time.process_time() - began < 2
    assert settings.problems
    assert all(len(str(problem)) < 1000 for problem in settings.problems)


def test_merged_mappings(tmp_path):
    """``<<`` brings the keys of others; one's own win, then those of the first."""
    pytest.importorskip("yaml")
    file = tmp_path / "tracing.yaml"
    file.write_text(
        "sampler: &a\n  type: const\n  param: 1\n"
        "reporter: {<<: [{queue_size: 5}, {queue_size: 7, flush_s: 3}], log_spans: true}\n"
        "service_name: shop\n",
        encoding="utf-8",
    )
    settings = Settings.from_file(file)
    assert not settings.problems
    reporter = settings.reporter
    assert (reporter.queue_size, reporter.flush_s, reporter.log_spans) == (5, 3.0, True)
