"""Manifests, decoded strictly into the types of the projects whose programs read them.

``make test-manifests`` builds ``decode`` (Go), with the types of Kubernetes, Istio, Prometheus and
kustomize.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
PAGES = REPOSITORY / "docs" / "kubernetes"
DECODE = REPOSITORY / ".build" / "manifests" / "decode"
FILES = sorted(path for path in PAGES.rglob("*.yaml") if path.name != "scrape.yaml")
KINDS = {
    document["kind"]: document
    for path in FILES
    for document in yaml.safe_load_all(path.read_text())
    if document
}
UNKNOWN_TYPES = {"Instrumentation", "Jaeger"}
"""Of two operators: no module with their types can be had."""
pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(not DECODE.exists(), reason="`make test-manifests` builds decode (Go)"),
]


def decode(*arguments):
    return subprocess.run(
        [DECODE, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_every_manifest_fits_its_types():
    """No field, kind or value that its own program would not know."""
    done = decode(*FILES)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(done.stdout.split("\n")) == {f"not decoded: {kind}" for kind in UNKNOWN_TYPES} | {""}


@pytest.mark.parametrize("kind", sorted(set(KINDS) - UNKNOWN_TYPES))
def test_a_kinds_unknown_field_is_refused(kind, tmp_path):
    """At the top, and in what it specifies."""
    document = KINDS[kind]
    for spoiled in (
        document | {"spek": {}},
        document | {"metadata": document.get("metadata", {}) | {"nmae": "x"}},
        document | {"spec": document.get("spec", {}) | {"unheardOf": 1}},
    ):
        file = tmp_path / "spoiled.yaml"
        file.write_text(yaml.safe_dump(spoiled))
        done = decode(file)
        assert done.returncode == 1, spoiled
        assert str(file) in done.stderr


def test_istios_messages_are_read_strictly(tmp_path):
    """A field of the mesh's configuration, a provider or a tracing rule that Istio has not."""
    mesh, telemetry = KINDS["IstioOperator"], KINDS["Telemetry"]
    (provider,) = mesh["spec"]["meshConfig"]["extensionProviders"]
    (tracing,) = telemetry["spec"]["tracing"]
    deployment = (PAGES / "istio" / "deployment.yaml").read_text()
    for spoiled in (
        mesh | {"spec": {"meshConfig": {"enableTraces": True}}},
        mesh | {"spec": {"meshConfig": {"extensionProviders": [provider | {"otlp": {}}]}}},
        telemetry | {"spec": {"tracing": [tracing | {"samplingPercentage": 1}]}},
        yaml.safe_load(deployment.replace("terminationDrainDuration", "drainFor")),
    ):
        file = tmp_path / "spoiled.yaml"
        file.write_text(yaml.safe_dump(spoiled))
        assert decode(file).returncode == 1, spoiled


def test_a_mounted_file_is_the_api_servers(tmp_path):
    """The ``TracingConfiguration`` within a ConfigMap is one."""
    documents = yaml.safe_load_all((PAGES / "control-plane" / "controller.yaml").read_text())
    file = tmp_path / "tracing.yaml"
    file.write_text(next(documents)["data"]["tracing.yaml"])
    assert decode(file).returncode == 0
    file.write_text(file.read_text() + "samplingRate: 1\n")
    assert decode(file).returncode == 1


def test_the_kustomization_builds():
    """``kubectl apply -k`` gets every resource in its namespace, and variables that are there."""
    done = decode("kustomize", PAGES / "shop")
    assert (done.returncode, done.stderr) == (0, "")
    built = list(yaml.safe_load_all(done.stdout))
    assert {row["metadata"].get("namespace", "shop") for row in built} == {"shop"}
    maps = {row["metadata"]["name"] for row in built if row["kind"] == "ConfigMap"}
    named = set()
    for row in built:
        if row["kind"] == "Deployment":
            (container,) = row["spec"]["template"]["spec"]["containers"]
            named |= {source["configMapRef"]["name"] for source in container.get("envFrom", ())}
            assert ":" in container["image"], "an image without a tag"
    assert named == maps
    assert len(built) == sum(
        1
        for path in (PAGES / "shop").glob("*.yaml")
        for document in yaml.safe_load_all(path.read_text())
        if document
    )  # the kustomization is left out, what it generates is there
