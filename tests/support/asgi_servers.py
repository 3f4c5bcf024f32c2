"""A server of ASGI applications in a process of its own, for as long as a block runs."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from ports import free_port, until_listening

PROGRAMS = Path(__file__).parents[1] / "peers" / "asgi"
COMMANDS = {
    "uvicorn": ["uvicorn", "--port", "{port}"],
    "hypercorn": ["hypercorn", "--bind", "127.0.0.1:{port}"],
    "granian": ["granian", "--interface", "asgi", "--port", "{port}"],
    "granian-h2": ["granian", "--interface", "asgi", "--http", "2", "--port", "{port}"],
    "daphne": ["daphne", "--port", "{port}"],
}


def started(server, app, port, said, **environ):
    """Return the process of ``server`` with ``app``; what it says goes to the file ``said``."""
    command = [part.format(port=port) for part in COMMANDS[server]]
    return subprocess.Popen(
        [sys.executable, "-m", *command, app],
        env={**os.environ, "PYTHONPATH": str(PROGRAMS), **environ},
        cwd=PROGRAMS,
        stdout=said,
        stderr=subprocess.STDOUT,
    )


def stopped(process):
    """Have ``process`` end as a scheduler does; return its exit code."""
    process.terminate()
    try:
        return process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return "killed"


@contextlib.contextmanager
def served(server, app, **environ):
    """Serve ``app``; yields the port."""
    port = free_port()
    with tempfile.TemporaryFile("w+") as said:
        process = started(server, app, port, said, **environ)
        try:
            until_listening(port, process)
            yield port
        finally:
            stopped(process)
