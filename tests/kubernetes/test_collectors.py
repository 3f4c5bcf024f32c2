"""The configurations within the manifests, read and run by the programs that they are for.

``make test-manifests`` builds these: Jaeger v2, and a collector with the parts that are named. Here
they listen on free ports of loopback, everything else is as the manifests say it.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import urllib3
import yaml
from elasticsearch_answers import Elasticsearch
from ports import free_ports
from waiting import eventually

from tracekit.local import Backend

REPOSITORY = Path(__file__).parents[2]
PAGES = REPOSITORY / "docs" / "kubernetes"
PROGRAMS = REPOSITORY / ".build" / "manifests"
CONFIGURATIONS = {
    "jaeger/jaeger.yaml": "jaeger",
    "collector/collector.yaml": "collector",
    "daemonset/daemonset.yaml": "collector",
    "sidecar/deployment.yaml": "collector",
}
OURS = ("JAEGER_", "OTEL_", "TRACEKIT_", "PYTHONPATH")
BARE = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
SOON_S = 30
pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


def built(name):
    path = PROGRAMS / name
    if not path.exists():
        pytest.skip(f"`make test-manifests` builds {name} (Go)")
    return path


def documents(name):
    return [document for document in yaml.safe_load_all((PAGES / name).read_text()) if document]


def data(name):
    """Return the files of the ConfigMap in a manifest."""
    (found,) = (row for row in documents(name) if row["kind"] == "ConfigMap")
    return found["data"]


def checked(name, text, tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(text)
    return subprocess.run(
        [built(CONFIGURATIONS[name]), "validate", f"--config={file}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_its_program_takes_the_configuration(name, tmp_path):
    """Every receiver, exporter and extension, and every key of theirs."""
    done = checked(name, data(name)["config.yaml"], tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_its_program_refuses_an_unknown_key(name, tmp_path):
    """So what is taken is known, part by part."""
    config = yaml.safe_load(data(name)["config.yaml"])
    for part in ("receivers", "processors", "exporters", "extensions"):
        for component in config[part]:
            spoiled = json.loads(json.dumps(config))
            spoiled[part][component] = spoiled[part][component] | {"unheard_of": 1}
            done = checked(name, yaml.safe_dump(spoiled), tmp_path)
            assert done.returncode != 0, component
            assert "unheard_of" in done.stderr


@contextlib.contextmanager
def running(name, tmp_path, replaced=()):
    """Run a manifest's configuration, and yield where each of its ports is: ``{4317: 40001}``."""
    text, address = data(name)["config.yaml"], r"(0\.0\.0\.0|127\.0\.0\.1)(:|, port: )"
    named = sorted({int(port) for _, _, port in re.findall(rf"{address}(\d+)", text)})
    ports = dict(zip(named, free_ports(len(named)), strict=True))
    text = re.sub(rf"{address}(\d+)", lambda it: f"127.0.0.1{it[2]}{ports[int(it[3])]}", text)
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new)
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [built(CONFIGURATIONS[name]), f"--config={file}"], stdout=log, stderr=subprocess.STDOUT
        )
    probe = probed(name)

    def healthy():
        assert process.poll() is None, (tmp_path / "log").read_text()[-3000:]
        url = f"http://127.0.0.1:{ports[probe['port']]}{probe['path']}"
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            return urllib3.request("GET", url, timeout=5, retries=False).status == 200
        return False

    try:
        eventually(healthy, SOON_S)
        yield ports
    finally:
        process.kill()
        process.wait()


def probed(name):
    """Return what the manifest's probe of the program asks."""
    (pod,) = (
        row["spec"]["template"]["spec"]
        for row in documents(name)
        if "template" in row.get("spec", {})
    )
    for container in (*pod.get("initContainers", ()), *pod["containers"]):
        for kind in ("startupProbe", "readinessProbe"):
            if kind in container:
                return container[kind]["httpGet"]
    raise AssertionError(name)


def variables(name, ports):
    """Return the variables of a service, with the ports that are used here."""
    (deployment,) = (row for row in documents(name) if row["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    filled = {"status.hostIP": "127.0.0.1", "metadata.name": "orders-1"}

    def value(row):
        if "value" not in row:
            return filled[row["valueFrom"]["fieldRef"]["fieldPath"]]
        text = row["value"]
        for port, free in ports.items():
            text = re.sub(rf"//[a-z.]+:{port}\b", f"//127.0.0.1:{free}", text)
        return text

    return {row["name"]: value(row) for row in container["env"]}


SERVICE = """
import time, tracekit
from opentelemetry import trace

tracing = tracekit.init()
end = time.monotonic() + 30
while tracing.stats().started < 1 and time.monotonic() < end:
    with trace.get_tracer("orders").start_as_current_span("POST /orders"):
        pass
    time.sleep(0.001)
tracekit.shutdown()
print(tracing.stats().sent)
"""


def sent(environ):
    """Run a service until one of its traces is sampled; return how many spans were sent."""
    done = subprocess.run(
        [sys.executable, "-c", SERVICE],
        env=BARE | environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_jaeger_serves_strategies_and_stores(tmp_path):
    """Jaeger v2 on its manifest: sampled as ``strategies.json`` says, stored below its prefix."""
    strategies = tmp_path / "strategies.json"
    strategies.write_text(data("jaeger/jaeger.yaml")["strategies.json"])
    with Elasticsearch() as elastic:
        replaced = (
            ("elasticsearch.tracing:9200", elastic.address),
            ("/etc/jaeger/strategies.json", str(strategies)),
        )
        with running("jaeger/jaeger.yaml", tmp_path, replaced) as ports:
            environ = variables("jaeger/deployment.yaml", ports)
            environ["JAEGER_SAMPLER_PARAM"] = "0"  # nothing is sampled before Jaeger has answered
            assert sent(environ) == 1
            eventually(lambda: len(elastic.stored) >= 2, SOON_S)
    stored = {re.sub(r"\d{4}-\d\d-\d\d$", "DAY", index): body for index, body in elastic.stored}
    assert set(stored) == {"shop-jaeger-service-DAY", "shop-jaeger-span-DAY"}
    span = stored["shop-jaeger-span-DAY"]
    assert (span["operationName"], span["process"]["serviceName"]) == ("POST /orders", "orders")
    assert {"key": "sampler.param", "type": "float64", "value": 0.1} in span["tags"]


def test_the_cleaner_deletes_after_a_week():
    """By the manifest's command line, among the names that Jaeger gives below this prefix."""
    (job,) = documents("jaeger/index-cleaner.yaml")
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    today = dt.datetime.now(tz=dt.timezone.utc).date()
    indices = {
        (prefix, age): f"{prefix}jaeger-{kind}-{today - dt.timedelta(days=age)}"
        for prefix in ("shop-", "other-")
        for age, kind in ((0, "span"), (5, "service"), (9, "span"), (400, "service"))
    }
    with Elasticsearch(indices.values()) as elastic:
        arguments = [
            word.replace("elasticsearch.tracing:9200", elastic.address)
            for word in container["args"]
        ]
        done = subprocess.run(
            [built("cleaner"), *arguments],
            env={row["name"]: row["value"] for row in container["env"]},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    left = {key for key, name in indices.items() if name in elastic.indices}
    assert set(indices) - left == {("shop-", 9), ("shop-", 400)}


@pytest.mark.parametrize(
    ("collector", "service"),
    [
        ("daemonset/daemonset.yaml", "daemonset/deployment.yaml"),
        ("sidecar/deployment.yaml", "sidecar/deployment.yaml"),
        ("collector/collector.yaml", "collector/deployment.yaml"),
    ],
)
def test_spans_go_through_the_collector(collector, service, tmp_path):
    """UDP to an agent or OTLP to a collector, with the manifests' variables, and on over OTLP.

    Strategies are not asked for: the extension that serves them cannot be had.
    """
    with Backend.on_free_ports() as backend:
        replaced = [("jaeger.tracing:4317", f"127.0.0.1:{backend.ports['grpc']}")]
        with running(collector, tmp_path, replaced) as ports:
            environ = variables(service, ports) | {"JAEGER_SAMPLER_TYPE": "const"}
            environ |= {"JAEGER_SAMPLER_PARAM": "1"}
            if 6831 in ports:
                environ["JAEGER_AGENT_PORT"] = str(ports[6831])
            assert sent(environ) == 1
            assert backend.wait_until(lambda spans: len(spans) == 1, SOON_S)
    (span,) = backend.all_spans()
    assert (span.service, span.operation) == ("orders", "POST /orders")
