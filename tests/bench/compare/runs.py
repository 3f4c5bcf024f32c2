"""Run measurements, each in a process and environment of its own, and keep what they tell."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).parent
MAX_RUN_S = 60.0


class Sink:
    """The counting sink, in a process that ends with the ``with`` block."""

    def __init__(self, python: str = sys.executable) -> None:
        self._process = subprocess.Popen(
            [python, str(HERE / "sink.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ports = json.loads(self._process.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def ask(self, what: str) -> dict:
        url = f"http://127.0.0.1:{self.ports['http']}/{what}"
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(url, timeout=30) as answer:
            return json.load(answer)

    def settled(self, expected: int) -> dict:
        """Return the count when it is ``expected``, or when nothing came for half a second."""
        while True:
            told = self.ask("count")
            if told["spans"] >= expected or time.monotonic() - told["last"] > 0.5:
                return told
            time.sleep(0.02)


def run(
    sink: Sink, python: str, side: str, cell: str, under: tuple[str, ...] = ()
) -> dict[str, object]:
    """Measure once, ``under`` another program if need be.

    The result has ``figures``, ``expected`` and ``arrived``, or an ``error``.
    """
    sink.ask("reset")
    command = [*under, python, str(HERE / "measure.py"), side, cell, json.dumps(sink.ports)]
    environ = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OTEL_", "JAEGER_", "DD_", "TRACEKIT_", "PYTHON"))
        and not name.lower().endswith("_proxy")
    }
    try:
        done = subprocess.run(
            command, env=environ, capture_output=True, text=True, timeout=MAX_RUN_S, check=False
        )
    except subprocess.TimeoutExpired:
        return {"error": f"no end after {MAX_RUN_S:.0f} s"}
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]}
    told = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    figures, expected, arrived = told["figures"], told["spans"], None
    if expected is not None:
        got = sink.settled(expected)
        arrived = got["spans"]
        counted = figures.pop("counted", None)
        if counted:
            took_s = got["last"] - told["began"]
            figures |= {"spans/s": counted / took_s} if cell == "rate" else {"s": took_s}
    load = os.getloadavg()[0]
    return {"figures": figures, "expected": expected, "arrived": arrived, "load": load}


def lost(result: dict) -> bool:
    """Tell whether a run failed or spans of it are missing: such a run has no figures."""
    return "error" in result or (
        result["expected"] is not None and result["arrived"] < result["expected"]
    )


class Results:
    """What was measured, one JSON file a cell; what other code gave is not taken up again."""

    def __init__(self, home: Path, key: str) -> None:
        self._home, self._key = home, key

    def load(self, cell: str) -> dict[str, list[dict]]:
        with contextlib.suppress(FileNotFoundError, ValueError):
            kept = json.loads(self._path(cell).read_text())
            if kept["key"] == self._key:
                return defaultdict(list, kept["runs"])
        return defaultdict(list)

    def save(self, cell: str, runs: dict[str, list[dict]]) -> None:
        self._home.mkdir(parents=True, exist_ok=True)
        path = self._path(cell)
        half = path.with_suffix(".half")
        half.write_text(json.dumps({"key": self._key, "runs": runs}, indent=1))
        half.replace(path)

    def forget(self, cell: str) -> None:
        self._path(cell).unlink(missing_ok=True)

    def _path(self, cell: str) -> Path:
        return self._home / f"{cell}.json"


def key_of(root: Path, *words: str) -> str:
    """Return what results depend on: the product's code, the programs here, and ``words``."""
    digest = hashlib.sha256(repr(words).encode())
    names = ("measure.py", "pairs.py", "rpc.py", "growth.py", "sink.py")
    programs = [*map(HERE.joinpath, names), *sorted((HERE / "sides").glob("*.py"))]
    product = root / "tracekit"
    for path in (*sorted(product.rglob("*.py")), *sorted(product.rglob("*.c")), *programs):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
