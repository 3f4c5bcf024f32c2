"""``tracekit inspect``: what is traced here, by what, and what could be."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


@pytest.fixture
def inspect(environ):
    def run(path="", **changed):
        done = subprocess.run(
            [sys.executable, "-m", "tracekit", "inspect", "--json"],
            env={**environ, "PYTHONPATH": path, **changed},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return {row["name"]: row for row in json.loads(done.stdout)}

    return run


def test_each_package_names_what_traces_it(inspect, package):
    """Our edges, contrib's instrumentors, and the line that installs what is lacking."""
    package("parcels", "", "")
    package("pymongo", "", "")
    path = package("instrumentor", "", "parcels = instrumentor:It", "parcels")
    rows = inspect(path)
    assert rows["flask"]["traced_by"] == "tracekit.flask"
    assert rows["parcels"]["traced_by"] == "instrumentor 1.0"
    assert (rows["parcels"]["package"], rows["parcels"]["version"]) == ("parcels", "1.0")
    assert rows["pymongo"]["traced_by"] is None
    assert rows["pymongo"]["note"] == "pip install opentelemetry-instrumentation-pymongo"
    assert "cassandra" not in rows


def test_what_is_switched_off_is_shown(inspect):
    """By either variable."""
    rows = inspect(TRACEKIT_INSTRUMENT="-flask", OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="requests")
    for name in ("flask", "requests"):
        assert (rows[name]["traced_by"], rows[name]["note"]) == (None, "switched off")


def test_the_table_imports_nothing(environ):
    """It holds every row and is safe where an import has effects."""
    program = (
        "import sys; from tracekit._cli.inspect import main; main([]);"
        "print({'flask', 'grpc', 'celery'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True
    )
    assert "tracekit.requests" in done.stdout
    assert done.stdout.endswith("set()\n")
