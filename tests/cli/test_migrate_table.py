"""Every public name of the retired packages: ours has it, or a row says what to use instead."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tracekit._cli.migrate.reading import meaning
from tracekit._cli.migrate.table import LIBRARIES, row_of
from tracekit.jaeger_client import alias

ROOT = Path(__file__).parents[2]
PACKAGES = ("jaeger_client", "flask_opentracing", "grpc_opentracing")
LEAST = {"jaeger_client": 150, "flask_opentracing": 1, "grpc_opentracing": 12}


@pytest.fixture(scope="module", params=PACKAGES)
def names(request):
    """Ask the first interpreter that has the package."""
    for python in (ROOT / ".build" / "jaeger-client" / "bin" / "python", Path(sys.executable)):
        script = str(ROOT / "tests" / "libraries" / "names.py")
        if python.exists():
            done = subprocess.run(
                [str(python), "-W", "ignore", script, request.param],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            if done.returncode == 0:
                return request.param, json.loads(done.stdout)
    pytest.skip(f"{request.param} is nowhere installed: make test-libraries")


def test_a_public_name_is_there_or_has_a_row(names):
    """And what is said to be there can be imported."""
    package, modules = names
    assert sum(map(len, modules.values())) >= LEAST[package]
    whole = {row.old for row in LIBRARIES}
    undo = alias()
    try:
        for module, public in modules.items():
            for name in public:
                full = f"{module}.{name}"
                row = row_of(full)
                if row is not None and row.old not in whole:
                    continue
                assert hasattr(importlib.import_module(module), name), f"no {full}, and no row"
                assert meaning(full), full
    finally:
        undo()
