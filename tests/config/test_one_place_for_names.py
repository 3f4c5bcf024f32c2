"""Variables are read by the environment table alone, and never while importing."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

from tracekit._config import variables
from tracekit._instrument._launch import RUN_OPTIONS

PACKAGE = Path(__file__).parents[2] / "tracekit"
NAME = re.compile(r"\b(JAEGER|OTEL|TRACEKIT)_[A-Z0-9_]+")


def named_in(path):
    """Return the variables that the module's code names; prose in docstrings may."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docs = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    return [
        match.group()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs
        for match in NAME.finditer(node.value)
    ]


def modules():
    return [
        path
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).parts[:2] not in {("_config", "variables"), ("_cli", "demo")}
        and path.relative_to(PACKAGE).parts[0] != "_examples"
    ]


def test_names_elsewhere_are_in_the_table():
    """Elsewhere a variable is only named as advice in a message, which must not go stale."""
    known = {row.name for row in variables.ROWS} | {variables.CONFIG_FILE, RUN_OPTIONS}
    assert {name for path in modules() for name in named_in(path)} - known == set()


def test_only_a_start_takes_the_environment():
    """One snapshot: at ``init``, at a command, or where OpenTelemetry's SDK calls a factory."""
    takers = {
        path.relative_to(PACKAGE).as_posix()
        for path in modules()
        if re.search(r"\bos\.(environ|getenv)\b", path.read_text(encoding="utf-8"))
    }
    assert takers <= {
        "_assembly/init.py",
        "_cli/check.py",
        "_cli/env.py",
        "_cli/report.py",
        "_assembly/entry_points.py",
        "_cli/main.py",
        "exporter.py",
        "jaeger_client/config.py",
        # What a launcher hands on, and where its programs begin.
        "_cli/run.py",
        "_instrument/_start.py",
        "_instrument/instrumented.py",
        "_instrument/site/sitecustomize.py",
        # What the terminal can show: NO_COLOR and TERM.
        "_cli/draw.py",
        "_cli/view/__init__.py",
        "transport/_console.py",
    }


def test_importing_reads_no_variable():
    """Settings are read when ``init`` is called, so a test or a program can set them before."""
    program = """
import os, sys

class Watched(dict):
    def __getitem__(self, name):
        seen.append(name)
        return super().__getitem__(name)

    def get(self, name, default=None):
        seen.append(name)
        return super().get(name, default)

import opentelemetry.sdk.trace, urllib3  # what others read at their import is theirs
seen = []
os.environ = Watched(os.environ)
import tracekit
print([name for name in seen if name.startswith(("JAEGER_", "TRACEKIT_"))])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
