"""Do what the tutorial says, line by line, and look for what it says that one will see.

``python tutorial.py docs/tutorial/first-trace.md``: on what is installed beside this interpreter,
nothing else. The ports are free ones, where a reader has those of the page.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

BESIDE = Path(sys.executable).parent
WAIT_S = 2.5
"""The page says two seconds."""


def main(tutorial: str) -> None:
    text = Path(tutorial).read_text(encoding="utf-8")
    shop, watch = program(text, "shop.py"), program(text, "watch.py")
    said = run("tracekit", "demo")
    seen(said, "compute-route", "redis.get", "✗", "503")

    with tempfile.TemporaryDirectory() as place:
        there = Path(place)
        agent, port = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_STREAM)
        (there / "watch.py").write_text(watch.replace("port=6831", f"port={agent}"), "utf-8")
        exports = dict(
            pair.split("=")
            for line in re.findall(r"^\$ export (.*)$", text, re.MULTILINE)
            for pair in line.split()
        )
        environ = os.environ | exports | {"JAEGER_AGENT_PORT": str(agent)}

        (there / "shop.py").write_text(shop, "utf-8")
        drawn = order(there, environ, port, ["/order/apples", "/health"])
        print(drawn)
        seen(drawn, "5 spans", "GET /order/<item>", "GET /stock/<item>", "redis-get", "parse-json")
        assert "/health" not in drawn, drawn

        (there / "shop.py").write_text(shop.replace('{"apples": 3}', '{"apples": None}'), "utf-8")
        drawn = order(there, environ, free_port(socket.SOCK_STREAM), ["/order/apples"])
        print(drawn)
        seen(drawn, "✗")
        settings = run("tracekit", "env", environ=environ)
        seen(settings, "sampler_type", "JAEGER_SAMPLER_TYPE", "agent_port", str(agent))


def order(there: Path, environ: dict[str, str], port: int, paths: list[str]) -> str:
    """Watch, start the shop, ask it, press Enter; return what was drawn."""
    watching = subprocess.Popen(
        [sys.executable, "watch.py"],
        cwd=there,
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    serving = subprocess.Popen(
        [BESIDE / "flask", "--app", "shop", "run", "--port", str(port)],
        cwd=there,
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    try:
        until_listening(serving, port)
        for path in paths:
            curl(f"http://127.0.0.1:{port}{path}")
        time.sleep(WAIT_S)
        return watching.communicate("\n", timeout=20)[0]
    finally:
        for process in (serving, watching):
            if process.poll() is None:
                process.terminate()
            process.wait(20)


def curl(url: str) -> None:
    with contextlib.suppress(urllib.error.HTTPError):  # (one step makes the shop fail)
        urllib.request.urlopen(url, timeout=10).read()


def program(text: str, name: str) -> str:
    """Return the code block of the page that is marked ``<!-- run: name -->``."""
    marked = re.escape(f"<!-- run: {name} -->")
    (code,) = re.findall(rf"{marked}\n```python\n(.*?)```", text, re.DOTALL)
    return code


def run(*command: str, environ: dict[str, str] | None = None) -> str:
    """Return what a command beside this interpreter prints; it has to end with 0."""
    name, *arguments = command
    done = subprocess.run(
        [BESIDE / name, *arguments],
        env=environ,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


def seen(text: str, *wanted: str) -> None:
    missing = [each for each in wanted if each not in text]
    assert not missing, f"not to be seen: {missing}\n{text}"


def free_port(kind: int) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until_listening(process: subprocess.Popen[str], port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.1)
    raise AssertionError("the shop does not listen")


if __name__ == "__main__":
    main(sys.argv[1])
