"""Prometheus scrapes the example service: every panel and every alert of the docs has data."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import yaml
from ports import free_ports
from running import SOON, example, get, serving

ROOT = Path(__file__).parents[2]
FILES = ROOT / "docs" / "how-to" / "prometheus"
HEADERS = (
    {"uber-trace-id": "nonsense"},
    {"uber-trace-id": "1:2:0:1", "x-b3-traceid": f"{3:016x}", "x-b3-spanid": f"{4:016x}"},
)
"""What makes the figures of decoding move: what cannot be read, and formats that disagree."""


def service(jaeger, folder):
    """Run the example's frontend, traced into ``jaeger`` and sampling as it orders."""
    environ = {
        "JAEGER_SERVICE_NAME": "frontend",
        "JAEGER_AGENT_HOST": "127.0.0.1",
        "JAEGER_AGENT_PORT": str(jaeger.ports["compact"]),
        "JAEGER_SAMPLER_TYPE": "remote",
        "JAEGER_SAMPLER_PARAM": "1",
        "JAEGER_SAMPLER_REFRESH_INTERVAL": "300ms",
        "JAEGER_SAMPLING_ENDPOINT": f"http://127.0.0.1:{jaeger.ports['sampling']}/sampling",
        "JAEGER_REPORTER_FLUSH_INTERVAL": "100ms",
        "JAEGER_RPC_METRICS": "true",
        "JAEGER_PROPAGATION": "jaeger,b3",
    }
    others = ["--driver", "127.0.0.1:1", "--router", "http://127.0.0.1:1"]
    return example(folder, environ, "flask_app/app.py", *others)


@contextlib.contextmanager
def prometheus(binary, folder, target):
    """Run Prometheus on ``target``, twice a second, with the docs' rules; yield its URL."""
    (port,) = free_ports(1)
    config = {
        "global": {
            "scrape_interval": "500ms",
            "scrape_timeout": "400ms",
            "evaluation_interval": "1s",
        },
        "rule_files": [str(FILES / "alerts.yml")],
        "scrape_configs": [
            {"job_name": "frontend", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}
        ],
    }
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(config))
    subprocess.run(
        [shutil.which("promtool"), "check", "config", file], check=True, capture_output=True
    )
    command = [
        binary,
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    url = f"http://127.0.0.1:{port}"
    with serving(command, folder / "prometheus.log", f"{url}/-/ready"):
        yield url


def ask(url, expression):
    query = urllib.parse.urlencode({"query": expression})
    return json.loads(get(f"{url}/api/v1/query?{query}"))["data"]["result"]


def expressions():
    """Return the panels' and the alerts' queries; of an alert the series that it compares."""
    panels = json.loads((FILES / "dashboard.json").read_text())["panels"]
    found = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in panels
        for target in panel.get("targets", ())
    }
    (group,) = yaml.safe_load((FILES / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]:
        found[rule["alert"]] = rule["expr"]
    return found


def quiet(expression):
    """Return an alert's expression without what makes it silent while all is well."""
    return re.sub(r"\s(>|==)\s*[\d.]+", "", expression)


def asked(expression):
    """Return a query of the dashboard with Grafana's variables filled in, over short windows."""
    for name, value in {
        "$__rate_interval": "5s",
        "$__interval": "5s",
        "$job": ".*",
        "$instance": ".*",
        "${job}": ".*",
        "${instance}": ".*",
    }.items():
        expression = expression.replace(name, value)
    return re.sub(r"\[\d+m\]", "[5s]", expression)


def test_every_panel_and_alert_has_data(make_jaeger, prometheus_binary, noted, tmp_path):
    """What the docs tell people to load names series that this service really has."""
    rules = subprocess.run(
        [shutil.which("promtool"), "check", "rules", FILES / "alerts.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert rules.returncode == 0, rules.stdout + rules.stderr
    with (
        make_jaeger() as jaeger,
        service(jaeger, tmp_path) as port,
        prometheus(prometheus_binary, tmp_path, port) as url,
    ):
        empty = dict(expressions())
        end = time.monotonic() + SOON
        while empty and time.monotonic() < end:
            for path in ("dispatch?customer=none", "route?car=a&blocks=1"):
                for headers in HEADERS:
                    request = urllib.request.Request(
                        f"http://127.0.0.1:{port}/{path}", headers=headers
                    )
                    with contextlib.suppress(urllib.error.HTTPError):
                        urllib.request.urlopen(request, timeout=SOON).close()
            for where, expression in list(empty.items()):
                if ask(url, quiet(asked(expression))):
                    del empty[where]
            time.sleep(0.2)
        assert not empty
        groups = json.loads(get(f"{url}/api/v1/rules"))["data"]["groups"]
        health = {rule["name"]: rule["health"] for each in groups for rule in each["rules"]}
    assert set(health.values()) <= {"ok", "unknown"}
    assert len(health) == 6
    noted(
        "Prometheus",
        f"{len(expressions())} queries of dashboard and alerts",
        "equal: all have data",
    )


def test_the_dashboard_fills_its_variables():
    """A query with a variable of another kind would be asked as it stands."""
    assert not [each for each in map(asked, expressions().values()) if re.search(r"\$\w", each)]
