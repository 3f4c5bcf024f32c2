"""Refusals of a real other host: a network namespace with a kernel's own limits on ICMP.

Needs root, ``ip``, ``unshare`` and ``nsenter``; skipped, and said so, where they are missing.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

SPANS = 150

SENDER = f"""
import json, time, tracekit
tracing = tracekit.init(
    "far", environ={{}}, agent_host="10.9.0.2", agent_port=6831, sampler_type="const",
    sampler_param=1, flush_s=0.02, max_batch_spans=5,
)
tracer = tracing.tracer("t")
for number in range({SPANS}):
    tracer.start_span(f"span-{{number}}.").end()
    time.sleep(0.01)
tracing.flush(20.0)
print(json.dumps(tracing.stats().as_dict()))
"""

AGENT = f"""
import re, socket, time
time.sleep(2.0)
seen = []
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as agent:
    agent.bind(("10.9.0.2", 6831))
    agent.settimeout(20.0)
    while len(set(seen)) < {SPANS}:
        try:
            seen += re.findall(rb"span-(\\d+)[.]", agent.recv(65_535))
        except TimeoutError:
            break
print(len(set(seen)), len(seen))
"""


def inside(process, *command):
    return ["nsenter", "-t", str(process.pid), "-n", *command]


@pytest.fixture
def hosts():
    """Yield two processes, each in a network of its own; the two are joined by a wire."""
    if not all(map(shutil.which, ("ip", "unshare", "nsenter"))):
        pytest.skip("ip, unshare or nsenter is missing")
    if subprocess.run(["unshare", "-n", "true"], check=False, capture_output=True).returncode:
        pytest.skip("network namespaces are not permitted here")
    made = [subprocess.Popen(["unshare", "-n", "sleep", "80"]) for _ in range(2)]
    try:
        time.sleep(0.3)
        near, far = made
        steps = [
            inside(near, "ip", "link", "add", "name", "va", "type", "veth", "peer", "name", "vb"),
            inside(near, "ip", "link", "set", "vb", "netns", str(far.pid)),
            inside(near, "ip", "address", "add", "10.9.0.1/24", "dev", "va"),
            inside(far, "ip", "address", "add", "10.9.0.2/24", "dev", "vb"),
            inside(near, "ip", "link", "set", "va", "up"),
            inside(far, "ip", "link", "set", "vb", "up"),
        ]
        for step in steps:
            if subprocess.run(step, check=False, capture_output=True).returncode:
                pytest.skip(f"cannot be set up here: {' '.join(step)}")
        yield near, far
    finally:
        for each in made:
            each.kill()
            each.wait()


def test_a_late_agent_gets_everything(hosts):
    """It is on another host, whose kernel tells of few refusals: nothing refused counts as sent."""
    near, far = hosts
    agent = subprocess.Popen(
        inside(far, sys.executable, "-c", AGENT), stdout=subprocess.PIPE, text=True
    )
    sender = subprocess.run(
        inside(near, sys.executable, "-c", SENDER),
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    received, twice = map(int, agent.communicate(timeout=30)[0].split())
    stats = json.loads(sender.stdout)
    assert stats["sent"] == stats["finished"] == received == SPANS
    assert twice - received <= stats["resent"]
