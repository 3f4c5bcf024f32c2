"""One program per library of the table, as it was and as it is to be: a receiver sees one tree."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tracekit.local import Receiver

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SCRIPT = str(HERE / "programs.py")
OLD = ROOT / ".build" / "jaeger-client" / "bin" / "python"
NEW = ROOT / ".build" / "libraries" / "bin" / "python"
"""Both made by ``make test-libraries``."""
pytestmark = pytest.mark.integration

NAMES = re.findall(r"^def (\w+)\(side, tracer\)", (HERE / "programs.py").read_text(), re.MULTILINE)
RENAMED = {
    "requests": {"requests.get": "GET"},
    "django": {"order": "GET order/<name>"},
    "fastapi": {"/order": "GET /order"},
    "grpc": {"/shop.Orders/Place": "shop.Orders/Place"},
    "celery": {"publish shop.place": "send shop.place", "shop.place": "process shop.place"},
}
"""Operations that have another name on purpose; the pages tell of each."""


def run(side, name):
    """Return the tree of what arrives: (operation, parent's operation, kind), sorted."""
    python = OLD if side == "old" else NEW
    if not python.exists():
        pytest.skip("make test-libraries makes the environments for this")
    bare = {key: it for key, it in os.environ.items() if not key.startswith(("JAEGER", "OTEL"))}
    with Receiver() as receiver:
        done = subprocess.run(
            [
                str(python),
                "-W",
                "ignore",
                SCRIPT,
                side,
                name,
                str(receiver.port),
            ],
            env={**bare, "PYTHONPATH": str(ROOT) if side == "new" else ""},
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        for line in done.stdout.splitlines():
            if line.startswith('{"skip"'):
                pytest.skip(f"{side}: {json.loads(line)['skip']}")
        receiver.wait_until(lambda spans: False, timeout_s=0.2)
        spans = list(receiver.spans())
    names = {span.span_id: span.operation for span in spans}
    return sorted(
        (span.operation, str(names.get(span.parent_id, span.parent_id)), span.kind)
        for span in spans
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_tree_is_the_same(name):
    """Operations, parents and kinds; a caller's trace is joined where there is one."""
    renamed = RENAMED.get(name, {})
    theirs = sorted(
        (renamed.get(operation, operation), renamed.get(parent, parent), kind)
        for operation, parent, kind in run("old", name)
    )
    assert theirs
    assert run("new", name) == theirs
