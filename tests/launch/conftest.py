"""Programs that are started with and without ``tracekit run``, and packages that they import."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from tracekit.testing import FakeAgent

_OURS = ("JAEGER_", "OTEL_", "TRACEKIT_", "PYTHONPATH")


@pytest.fixture
def agent():
    with FakeAgent() as running:
        yield running


@pytest.fixture
def environ(agent):
    """What a service would be started with: everything sampled, sent to ``agent``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return {**kept, **agent.environ, "JAEGER_SERVICE_NAME": "shop"}


@pytest.fixture
def package(tmp_path):
    """A function that writes a module, or a distribution with an instrumentor, and its path."""
    root = tmp_path / "packages"
    root.mkdir()

    def write(name, source, entry=None, requires="", group="opentelemetry_instrumentor"):
        (root / f"{name}.py").write_text(textwrap.dedent(source))
        if entry is not None:
            info = root / f"{name}-1.0.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(
                f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nProvides-Extra: instruments\n"
                + (f'Requires-Dist: {requires}; extra == "instruments"\n' if requires else "")
            )
            (info / "entry_points.txt").write_text(f"[{group}]\n{entry}\n")
        return str(root)

    return write


@pytest.fixture
def python(environ, tmp_path):
    """A function that runs a program, with what goes before it on the command line."""

    def run(program, *before, path="", **changed):
        script = tmp_path / "program.py"
        script.write_text(textwrap.dedent(program))
        env = {**environ, **({"PYTHONPATH": path} if path else {}), **changed}
        return subprocess.run(
            [*before, sys.executable, str(script)],
            env=env, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    return run
