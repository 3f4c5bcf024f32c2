"""A running ``tracekit view`` as a process, and spans to send to it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time

from waiting import eventually


class View:
    """The command in a process of its own; ``said`` is what it has written so far."""

    def __init__(self, *arguments, offset="free"):
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tracekit._cli.main",
                "view",
                "--port-offset",
                offset,
                *arguments,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONIOENCODING": "utf-8", "NO_COLOR": "1"},
        )
        self._lines = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self._process.stdout:
            self._lines.append(line.decode())

    @property
    def said(self):
        return "".join(self._lines)

    def wait_for(self, text, timeout_s=30):
        return eventually(
            lambda: re.search(text, self.said),
            timeout_s,
            lambda: f"{text!r} not in:\n{self.said}",
            every_s=0.02,
        )

    def port(self, what):
        return int(self.wait_for(rf"(\d+)/\w+  {re.escape(what)}\n")[1])

    def end(self, number=signal.SIGINT):
        self._process.send_signal(number)
        return self.ended()

    def ended(self):
        status = self._process.wait(30)
        self._reader.join(30)
        self._process.stdout.close()
        return status

    def kill(self):
        if self._process.poll() is None:
            self._process.kill()
        self.ended()


def span(name, trace=1, number=1, parent=0, lasted_ms=5, **fields):
    start = time.time_ns()
    return {
        "traceId": f"{trace:032x}",
        "spanId": f"{number:016x}",
        "parentSpanId": f"{parent:016x}" if parent else "",
        "name": name,
        "kind": 2,
        "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(start + lasted_ms * 1_000_000),
        **fields,
    }
