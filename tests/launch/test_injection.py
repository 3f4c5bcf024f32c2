"""What a Kubernetes operator injects, a directory and ``PYTHONPATH``, in other interpreters."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import typing_extensions
import urllib3
from opentelemetry import trace

import tracekit

PACKAGE = Path(tracekit.__file__).parent
OTHERS = ("2.7", "3.6", "3.8", "3.9", "3.10", "3.12", "3.13", "3.14")
PROGRAM = """
import sys
if sys.version_info >= (3, 10):
    from opentelemetry import trace
    trace.get_tracer("shop").start_span("order").end()
print("done")
sys.exit(3)
"""


def interpreter(version):
    """Return the path of an interpreter that is installed here; skip where there is none."""
    found = [shutil.which(f"python{version}")]
    found += sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    tell = "import sys; print('%d.%d %s' % (sys.version_info[:2] + (sys.executable,)))"
    for path in filter(None, found):
        asked = subprocess.run([path, "-c", tell], capture_output=True, text=True, check=False)
        told, _, executable = asked.stdout.strip().partition(" ")
        if told == version:
            return executable
    pytest.skip(f"there is no Python {version} here")


@pytest.fixture
def injected(tmp_path):
    """The tree that ``pip install --target`` would make: tracekit and what it needs."""
    tree = tmp_path / "injected"
    tree.mkdir()
    telemetry = Path(trace.__file__).parents[1]
    wanted = (PACKAGE, telemetry, Path(urllib3.__file__).parent, Path(typing_extensions.__file__))
    for path in (*wanted, *telemetry.parent.glob("opentelemetry*.dist-info")):
        (tree / path.name).symlink_to(path)
    return tree


@pytest.mark.parametrize("version", OTHERS)
def test_another_interpreter_is_served(version, injected, environ, agent):
    """Traced where tracekit can be; where it is too old, the program runs as it would."""
    python = interpreter(version)
    site = injected / "tracekit" / "_instrument" / "site"
    done = subprocess.run(
        [python, "-c", PROGRAM],
        env={**environ, "PYTHONPATH": f"{site}{os.pathsep}{injected}"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (3, "done\n", "")
    if int(version.partition(".")[2]) >= 10:
        assert [span.operation for span in agent.wait(1)] == ["order"]


@pytest.mark.parametrize("version", OTHERS)
def test_its_own_sitecustomize_still_runs(version, injected, environ, tmp_path):
    """Ours stands in front of it, also for an interpreter that is too old for the rest."""
    python = interpreter(version)
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.theirs = 'theirs'\n")
    path = os.pathsep.join(map(str, (injected / "tracekit/_instrument/site", tmp_path)))
    done = subprocess.run(
        [python, "-c", "import sys; print(sys.theirs)"], env={**environ, "PYTHONPATH": path},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("theirs\n", "")
