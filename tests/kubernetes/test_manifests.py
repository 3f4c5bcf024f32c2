"""The manifests of ``docs/kubernetes``: their schemas, what tracekit makes of them, and their sums.

``make test-manifests`` brings the schemas of Kubernetes in an environment of its own.
"""

from __future__ import annotations

import json
import logging
import re
import runpy
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tracekit._config import variables
from tracekit._config.values import seconds
from tracekit.logging import JsonFormatter
from tracekit.settings import Settings

REPOSITORY = Path(__file__).parents[2]
PAGES = REPOSITORY / "docs" / "kubernetes"
FILES = sorted(PAGES.rglob("*.yaml"))
VALIDATE = REPOSITORY / ".build" / "site" / "bin" / "kubernetes-validate"
LONGEST_REQUEST_S = 15
AIR_S = 5
NOT_CORE = {
    "install.istio.io/v1alpha1 IstioOperator",
    "telemetry.istio.io/v1 Telemetry",
    "opentelemetry.io/v1alpha1 Instrumentation",
    "jaegertracing.io/v1 Jaeger",
    "monitoring.coreos.com/v1 PodMonitor",
    "monitoring.coreos.com/v1 PrometheusRule",
    "apiserver.config.k8s.io/v1 TracingConfiguration",
    "kubelet.config.k8s.io/v1beta1 KubeletConfiguration",
    "kustomize.config.k8s.io/v1beta1 Kustomization",
}
"""What the schemas of Kubernetes do not contain."""


def documents(path):
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


RESOURCES = [
    (path, document) for path in FILES for document in documents(path) if "kind" in document
]
PODS = [
    (path, document, document["spec"]["template"]["spec"])
    for path, document in RESOURCES
    if document["kind"] in {"Deployment", "DaemonSet", "StatefulSet"}
]
LITERALS = dict(
    literal.split("=", 1)
    for generator in yaml.safe_load((PAGES / "shop/kustomization.yaml").read_text())[
        "configMapGenerator"
    ]
    for literal in generator["literals"]
)


def name_of(path, document):
    return f"{path.relative_to(PAGES)}:{document['metadata']['name']}"


def environment(container):
    """Return the variables of a container; what the cluster fills in is an address or a name."""
    filled = {"status.hostIP": "10.0.0.7", "metadata.name": "orders-1"}
    values = dict(LITERALS) if "envFrom" in container else {}
    for row in container.get("env", ()):
        if "value" in row:
            values[row["name"]] = row["value"]
        else:
            values[row["name"]] = filled[row["valueFrom"]["fieldRef"]["fieldPath"]]
    return values


TRACED = {
    name_of(path, document): (pod, container)
    for path, document, pod in PODS
    for container in pod["containers"]
    if container["image"].startswith(("example/", "tracekit-shop"))
}
INJECTED = {
    "operator/deployment.yaml:orders": {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.tracing:4318",
        "OTEL_RESOURCE_ATTRIBUTES": "k8s.pod.name=orders-1,k8s.namespace.name=shop",
        "OTEL_PROPAGATORS": "tracecontext,baggage,b3",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.1",
    },
    "operator/deployment-injected.yaml:legacy": {
        "OTEL_SERVICE_NAME": "legacy",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.tracing:4318",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_TRACES_EXPORTER": "otlp",
    },
    "jaeger-operator/deployment.yaml:orders": {
        "JAEGER_SERVICE_NAME": "orders.shop",
        "JAEGER_PROPAGATION": "jaeger,b3,w3c",
    },
}
"""What an operator adds to the variables of a manifest."""
UDP = {"transport": "udp", "agent_port": 6831}
SHOP = {
    "transport": "otlp-http",
    "endpoint": "http://jaeger:4318/v1/traces",
    "sampler_type": "const",
    "sampler_param": 1.0,
    "propagation": ["jaeger", "w3c", "b3"],
}
SAID = {
    "sidecar/deployment.yaml:orders": {
        **UDP,
        "agent_host": "127.0.0.1",
        "sampler_type": "remote",
        "sampling_endpoint": "http://127.0.0.1:5778/sampling",
    },
    "sidecar/deployment-before-1.29.yaml:orders": {
        **UDP,
        "agent_host": "127.0.0.1",
        "sampling_endpoint": "http://jaeger.tracing:5778/sampling",
    },
    "daemonset/deployment.yaml:orders": {
        **UDP,
        "agent_host": "10.0.0.7",
        "sampler_type": "remote",
        "tags": {"pod": "orders-1"},
    },
    "jaeger/deployment.yaml:orders": {
        "transport": "otlp-http",
        "endpoint": "http://jaeger.tracing:4318/v1/traces",
        "sampling_endpoint": "http://jaeger.tracing:5778/sampling",
        "propagation": ["jaeger", "w3c"],
        "extract_order": "first",
    },
    "collector/deployment.yaml:orders": {
        "transport": "otlp-grpc",
        "endpoint": "http://collector.tracing:4317",
        "compression": "gzip",
        "sampler_type": "probabilistic",
        "sampler_param": 0.1,
        "extract_order": "last",
    },
    "operator/deployment.yaml:orders": {
        "service_name": "orders",
        "transport": "otlp-http",
        "sampler_type": "probabilistic",
        "sampler_param": 0.1,
    },
    "operator/deployment-injected.yaml:legacy": {
        "service_name": "legacy",
        "transport": "otlp-http",
        "propagation": ["w3c", "b3"],
    },
    "jaeger-operator/deployment.yaml:orders": {
        **UDP,
        "service_name": "orders.shop",
        "agent_host": "localhost",
        "propagation": ["jaeger", "b3", "w3c"],
    },
    "istio/deployment.yaml:orders": {
        "service_name": "orders.shop",
        "propagation": ["b3", "w3c"],
        "sampler_type": "const",
        "sampler_param": 0.0,
    },
    "control-plane/controller.yaml:controller": {"service_name": "controller"},
    "prometheus/deployment.yaml:orders": {"rpc_metrics": True},
    "shop/driver.yaml:driver": SHOP,
    "shop/route.yaml:route": SHOP,
    "shop/frontend.yaml:frontend": SHOP,
}
"""What the pages say that tracekit makes of the variables."""


@pytest.mark.timeout(300)
@pytest.mark.skipif(not VALIDATE.exists(), reason="`make test-manifests` installs the validator")
def test_manifests_follow_the_schemas():
    """Strictly: a field that the API server does not know is an error."""
    done = subprocess.run(
        [VALIDATE, "--strict", *(path for path in FILES if path.name != "scrape.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )
    unknown = re.findall(r"for kind (\S+) with api version (\S+)", done.stdout + done.stderr)
    assert {f"{version} {kind}" for kind, version in unknown} <= NOT_CORE
    assert done.returncode == 0, done.stdout + done.stderr


def test_other_kinds_are_known_by_name():
    """A kind that no schema knows is one of a list, so none slips through by a typing error."""
    core = re.compile(r"(v1|[a-z]+/v1|[a-z.]+\.k8s\.io/v1)")
    others = {f"{row['apiVersion']} {row['kind']}" for _, row in RESOURCES}
    assert {row for row in others if not core.fullmatch(row.split()[0])} | {
        "apiserver.config.k8s.io/v1 TracingConfiguration"
    } == NOT_CORE


@pytest.mark.parametrize("name", TRACED)
def test_every_variable_is_known_and_good(name):
    """``tracekit env`` knows each variable, and finds nothing bad in any."""
    environ = environment(TRACED[name][1])
    known = {row.name for row in variables.ROWS} | {variables.CONFIG_FILE}
    quoted = set(re.findall(r"\$\{(\w+)", environ.get("JAEGER_TAGS", "")))
    assert set(environ) - known == quoted
    environ.pop(variables.CONFIG_FILE, None)
    settings = Settings.resolve(environ=environ | INJECTED.get(name, {}))
    assert settings.problems == ()


@pytest.mark.parametrize("name", TRACED)
def test_variables_give_the_pages_settings(name):
    """Each service of a manifest gets the settings that its page tells."""
    environ = environment(TRACED[name][1]) | INJECTED.get(name, {})
    environ.pop(variables.CONFIG_FILE, None)
    flat = Settings.resolve(environ=environ).masked()
    assert {key: flat[key] for key in SAID[name]} == SAID[name]


def test_the_picture_shows_the_wires():
    """The first arrow of each way in it is what the folder's service sends over."""
    drawn = runpy.run_path(str(PAGES.parent / "_diagrams.py"))
    wires = {"OTLP/HTTP": "otlp-http", "OTLP/gRPC": "otlp-grpc", "UDP": "udp"}
    for way in drawn["WAYS"]:
        ours = {
            said["transport"] for name, said in SAID.items() if name.startswith(f"{way.title}/")
        }
        assert ours == {wires[way.boxes[0].after]}, way.title


def test_the_api_servers_file_configures_us(tmp_path):
    """The file of the control plane, and the one of a controller, say endpoint, rate and format."""
    (shared,) = documents(PAGES / "control-plane" / "tracing-configuration.yaml")
    mounted = documents(PAGES / "control-plane" / "controller.yaml")[0]["data"]["tracing.yaml"]
    for text, endpoint in (
        (yaml.safe_dump(shared), "http://localhost:4317"),
        (mounted, "http://collector.tracing:4317"),
    ):
        file = tmp_path / "tracing.yaml"
        file.write_text(text)
        flat = Settings.resolve(environ={variables.CONFIG_FILE: str(file)}).masked()
        assert flat["transport"] == "otlp-grpc"
        assert flat["endpoint"] == endpoint
        assert flat["sampler_param"] == 0.0001
        assert flat["propagation"] == ["w3c"]


def sleep_of(container):
    return int(container["lifecycle"]["preStop"]["exec"]["command"][1])


@pytest.mark.parametrize("name", TRACED)
def test_the_grace_period_holds_the_exit(name):
    """It holds preStop, longest request, exit budget and air; other containers wait as long."""
    pod, container = TRACED[name]
    environ = environment(container) | {"JAEGER_SERVICE_NAME": "x"}
    environ.pop(variables.CONFIG_FILE, None)
    budget_s = Settings.resolve(environ=environ).masked()["exit_budget_s"]
    needed_s = sleep_of(container) + LONGEST_REQUEST_S + budget_s
    assert pod["terminationGracePeriodSeconds"] >= needed_s + AIR_S
    for other in pod["containers"]:
        if other is not container:
            assert needed_s <= sleep_of(other) <= pod["terminationGracePeriodSeconds"] - AIR_S
    for native in pod.get("initContainers", ()):
        assert native["restartPolicy"] == "Always"


def test_the_page_computes_that_grace_period():
    """The table of the overview adds up to less than the grace period that it ends with."""
    table = dict(
        re.findall(r"\| (.*?) \| (?:at least )?(\d+) s \|", (PAGES / "README.md").read_text())
    )
    whole = int(table.pop("`terminationGracePeriodSeconds`"))
    assert sum(map(int, table.values())) <= whole
    assert {"the longest request": "15", "`TRACEKIT_EXIT_BUDGET`": "2"}.items() <= table.items()


def test_the_proxy_drains_long_enough():
    """Istio's ``terminationDrainDuration`` is preStop + the longest request + the exit budget."""
    (document,) = documents(PAGES / "istio" / "deployment.yaml")
    template = document["spec"]["template"]
    proxy = yaml.safe_load(template["metadata"]["annotations"]["proxy.istio.io/config"])
    pod, container = TRACED["istio/deployment.yaml:orders"]
    needed_s = sleep_of(container) + LONGEST_REQUEST_S + 2
    assert seconds()(proxy["terminationDrainDuration"]) == needed_s
    assert proxy["holdApplicationUntilProxyStarts"] is True
    assert pod["terminationGracePeriodSeconds"] > needed_s


def addresses():
    """Return ``host, port`` of every Service in the manifests, by both names."""
    found = set()
    for path, document in RESOURCES:
        if document["kind"] == "Service":
            host, space = document["metadata"]["name"], document["metadata"].get("namespace")
            for row in document["spec"]["ports"]:
                for name in (host,) if space is None else (f"{host}.{space}",):
                    found.add((name, row["port"], path.parent.name if space is None else ""))
    return {(host, port) for host, port, _ in found}


def test_every_address_is_a_service():
    """A host:port that any file names is a port of some Service here, or the pod's own."""
    address = r"\b((?:jaeger|collector|elasticsearch|driver|route|frontend)(?:\.tracing)?):(\d+)\b"
    named = {
        (host, int(port))
        for path in FILES
        for line in path.read_text().splitlines()
        if " image: " not in line
        for host, port in re.findall(address, line)
    }
    assert len(named) > 8
    assert named <= addresses()


def admitted(policy, namespace):
    """Whether a NetworkPolicy lets pods of a namespace in."""
    own = policy["metadata"]["namespace"]
    for rule in policy["spec"]["ingress"]:
        for peer in rule["from"]:
            labels = peer.get("namespaceSelector", {}).get("matchLabels", {})
            if labels.get("kubernetes.io/metadata.name", own) == namespace:
                return True
    return False


def test_network_policies_admit_the_senders():
    """A pod of any file that names a guarded Service is in a namespace that may reach it."""
    policies = [document for _, document in RESOURCES if document["kind"] == "NetworkPolicy"]
    seen = set()
    for policy in policies:
        service = policy["metadata"]["name"]
        for path, document in RESOURCES:
            if document["kind"] in {"ConfigMap", "CronJob"} and f"{service}.tracing" in str(
                document
            ):
                seen.add(path.name)
                assert admitted(policy, document["metadata"]["namespace"]), path
        assert not admitted(policy, "elsewhere")
    assert seen == {"jaeger.yaml", "index-cleaner.yaml", "fluent-bit.yaml"}


def test_ports_and_volumes_lead_somewhere():
    """A Service's ``targetPort`` is a port of its pods; a mounted ConfigMap is in the same file."""
    for path, document, pod in PODS:
        ports = {
            row["name"] for container in pod["containers"] for row in container.get("ports", ())
        }
        for other in documents(path):
            if other["kind"] == "Service" and other["spec"]["selector"] == document["spec"][
                "selector"
            ].get("matchLabels"):
                assert {
                    str(row.get("targetPort", row["name"])) for row in other["spec"]["ports"]
                } <= ports
        maps = {row["metadata"]["name"] for row in documents(path) if row["kind"] == "ConfigMap"}
        for volume in pod.get("volumes", ()):
            if "configMap" in volume:
                assert volume["configMap"]["name"] in maps
        for container in (*pod["containers"], *pod.get("initContainers", ())):
            have = {volume["name"] for volume in pod.get("volumes", ())} | {
                claim["metadata"]["name"]
                for claim in document["spec"].get("volumeClaimTemplates", ())
            }
            assert {row["name"] for row in container.get("volumeMounts", ())} <= have


def test_collectors_use_what_they_define():
    """Every receiver, processor, exporter and extension of a pipeline is defined, and used."""
    seen = 0
    for _, document in RESOURCES:
        text = (
            document.get("data", {}).get("config.yaml") if document["kind"] == "ConfigMap" else None
        )
        if text is None:
            continue
        seen += 1
        config = yaml.safe_load(text)
        pipeline = config["service"]["pipelines"]["traces"]
        for part in ("receivers", "processors", "exporters"):
            assert set(config[part]) == set(pipeline[part])
        assert set(config["extensions"]) == set(config["service"]["extensions"])
    assert seen == 4


def images():
    """Return file, repository, tag and comment of every image that others publish."""
    for path in FILES:
        for image, comment in re.findall(r"image: (\S+)(.*)", path.read_text()):
            repository, _, tag = image.partition(":")
            if not image.startswith(("example/", "registry.example/", "tracekit-shop")):
                yield path, repository, tag, comment


def test_every_tag_has_its_source():
    """None is ``latest``, and beside each stands where the tag is known from."""
    seen = list(images())
    assert len(seen) > 8
    for path, repository, tag, comment in seen:
        assert re.fullmatch(r"\d+\.\d+.*", tag), (path, repository)
        assert re.match(r" # \w", comment), (path, repository)


def test_images_load_their_configurations():
    """Of their releases by the Go modules of Jaeger and collector: 1.76 of Jaeger's is 2.13."""
    modules = dict(
        re.findall(
            r"^\t?(\S+) v(\S+)",
            (Path(__file__).parent / "collector" / "go.mod").read_text(),
            re.MULTILINE,
        )
    )
    tags = {
        repository: {tag for _, other, tag, _ in images() if other == repository}
        for _, repository, _, _ in images()
    }
    contrib = "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/jaegerreceiver"
    assert tags["otel/opentelemetry-collector-contrib"] == {modules[contrib]}
    major, minor, patch = modules["github.com/jaegertracing/jaeger"].split(".")
    assert major == "1"
    release = f"2.{int(minor) - 63}.{patch}"  # v1.63.0 and v2.0.0 were one
    assert tags["jaegertracing/jaeger"] == {release}
    assert tags["jaegertracing/jaeger-es-index-cleaner"] == {release}


def test_the_cleaner_deletes_what_is_written():
    """Index prefixes are the same, with the plain manifests and with the operator."""
    config = yaml.safe_load(documents(PAGES / "jaeger/jaeger.yaml")[1]["data"]["config.yaml"])
    elastic = config["extensions"]["jaeger_storage"]["backends"]["elastic"]["elasticsearch"]
    (job,) = documents(PAGES / "jaeger/index-cleaner.yaml")
    (cleaner,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    (prefix,) = cleaner["env"]
    assert prefix == {"name": "INDEX_PREFIX", "value": elastic["indices"]["index_prefix"]}
    assert cleaner["args"][1] in elastic["server_urls"]


def test_we_take_jaegers_strategies(tmp_path):
    """The strategies file that Jaeger serves is good for ``TRACEKIT_SAMPLER_FILE``, too."""
    file = tmp_path / "strategies.json"
    file.write_text(documents(PAGES / "jaeger/jaeger.yaml")[1]["data"]["strategies.json"])
    assert json.loads(file.read_text())["default_strategy"]["param"] == 0.01
    environ = {"JAEGER_SERVICE_NAME": "orders", "TRACEKIT_SAMPLER_FILE": str(file)}
    assert Settings.resolve(environ=environ).problems == ()


def test_the_alerts_are_those_of_the_page():
    """The ``PrometheusRule`` holds the groups of ``alerts.yml``."""
    rule = documents(PAGES / "prometheus/pod-monitor.yaml")[1]
    published = PAGES.parent / "how-to" / "prometheus" / "alerts.yml"
    assert rule["spec"]["groups"] == yaml.safe_load(published.read_text())["groups"]


def test_a_line_of_the_log_has_a_field_once():
    """What the output adds is taken out of our lines first: Elasticsearch refuses fields twice."""
    (config,) = (
        yaml.safe_load(document["data"]["fluent-bit.yaml"])
        for document in documents(PAGES / "efk" / "fluent-bit.yaml")
        if document["kind"] == "ConfigMap"
    )
    record = logging.LogRecord("shop", logging.INFO, __file__, 1, "sold", (), None)
    ours = set(json.loads(JsonFormatter().format(record)))
    removed = set()
    for step in config["pipeline"]["filters"]:
        if step["name"] == "kubernetes":
            assert step["merge_log"] is True
            assert not removed, "before the line is merged there is nothing to remove"
        removed |= {step["remove_key"]} if "remove_key" in step else set()
    (output,) = config["pipeline"]["outputs"]
    added = {output.get("time_key", "@timestamp")}
    assert ours & added == removed


PROMTOOL = shutil.which("promtool")


@pytest.mark.skipif(PROMTOOL is None, reason="promtool (Debian: prometheus) is not installed")
def test_prometheus_takes_its_configuration(tmp_path):
    """Prometheus takes it, but for the search for pods: Debian builds it without Kubernetes."""
    config = yaml.safe_load((PAGES / "prometheus" / "scrape.yaml").read_text())
    (job,) = config["scrape_configs"]
    assert job.pop("kubernetes_sd_configs") == [{"role": "pod"}]
    file = tmp_path / "prometheus.yml"
    file.write_text(yaml.safe_dump(config))
    done = subprocess.run(
        [PROMTOOL, "check", "config", "--syntax-only", file],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_mesh_samples_in_percent():
    """The page's arithmetic: 0.1 percent is one request in a thousand."""
    for name in ("zipkin", "opentelemetry"):
        telemetry = documents(PAGES / "istio" / f"{name}.yaml")[1]
        (tracing,) = telemetry["spec"]["tracing"]
        assert tracing["randomSamplingPercentage"] / 100 == pytest.approx(1 / 1000)
        mesh = documents(PAGES / "istio" / f"{name}.yaml")[0]["spec"]["meshConfig"]
        (provider,) = mesh["extensionProviders"]
        assert [row["name"] for row in tracing["providers"]] == [provider["name"]]


def test_every_file_is_on_its_page():
    """Each manifest is linked from the page of its folder, and each folder from the overview."""
    overview = (PAGES / "README.md").read_text()
    for path in PAGES.rglob("*"):
        if path.suffix in {".yaml", ".json"} and path.parent.name != "shop":
            assert f"({path.name})" in (path.parent / "README.md").read_text(), path
    for page in PAGES.glob("*/README.md"):
        assert f"({page.parent.name}/README.md)" in overview
