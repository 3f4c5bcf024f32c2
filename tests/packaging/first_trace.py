"""Run the README's Flask program, and a gRPC service behind it, and draw the trace of one request.

``python first_trace.py README.md``: on what is installed beside this interpreter, nothing else.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from tracekit.local import Receiver, draw

# What the README says of gRPC in words, written down: a service, and a call of it while serving.
SERVER = """
from concurrent.futures import ThreadPoolExecutor
import sys, grpc, tracekit, tracekit.grpc

tracekit.init()
server = grpc.server(ThreadPoolExecutor(4), interceptors=[tracekit.grpc.server_interceptor()])
greet = grpc.unary_unary_rpc_method_handler(lambda request, context: b"hello")
handlers = grpc.method_handlers_generic_handler("Greeter", {"Greet": greet})
server.add_generic_rpc_handlers((handlers,))
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
sys.stdin.read()
tracekit.shutdown()
"""
CALL = """
import os, grpc, tracekit.grpc
channel = tracekit.grpc.trace_channel(grpc.insecure_channel("127.0.0.1:" + os.environ["GREETER"]))

@app.get("/greet")
def greet():
    return channel.unary_unary("/Greeter/Greet")(b"")
"""


def main(readme: str) -> int:
    text = Path(readme).read_text(encoding="utf-8")
    (program,) = re.findall(r"<!-- run: service\.py -->\n```python\n(.*?)```", text, re.DOTALL)
    with tempfile.TemporaryDirectory() as place, Receiver() as agent, socket.socket() as probe:
        Path(place, "service.py").write_text(program + CALL, encoding="utf-8")
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        environ = os.environ | {
            "JAEGER_AGENT_HOST": "127.0.0.1",
            "JAEGER_AGENT_PORT": str(agent.port),
            "JAEGER_SAMPLER_TYPE": "const",
            "JAEGER_SAMPLER_PARAM": "1",
        }
        greeter = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            env=environ | {"JAEGER_SERVICE_NAME": "greeter"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        flask = subprocess.Popen(
            [sys.executable, "-m", "flask", "--app", "service", "run", "--port", str(port)],
            cwd=place,
            env=environ
            | {"JAEGER_SERVICE_NAME": "hello", "GREETER": greeter.stdout.readline().strip()},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _ask(f"http://127.0.0.1:{port}/greet")
            spans = agent.wait(3, timeout_s=20)
        finally:
            for process in (flask, greeter):
                process.terminate()
                process.wait(20)
        print(draw(spans))
        return 0 if len({span.trace_id for span in spans}) == 1 else 1


def _ask(url: str) -> None:
    """Ask once the server listens."""
    port = int(url.split(":")[2].partition("/")[0])
    deadline = time.monotonic() + 30
    with_port = ("127.0.0.1", port)
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(with_port) == 0:
                break
        time.sleep(0.1)
    urllib.request.urlopen(url, timeout=10).read()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
