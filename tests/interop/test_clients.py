"""Jaeger's Go client, its Python client and OpenTelemetry's SDK beside us, in one trace each."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import hops
import pytest
import requests

import tracekit

HERE = Path(__file__).parent
SOON = 30.0


@contextlib.contextmanager
def go(binary, jaeger, service, *, wide, sampled):
    """Run the Go peer; yield its HTTP and gRPC address. It reports when it ends."""
    environ = {
        "JAEGER_SERVICE_NAME": service,
        "JAEGER_AGENT_HOST": "127.0.0.1",
        "JAEGER_AGENT_PORT": str(jaeger.ports["compact"]),
        "JAEGER_SAMPLER_TYPE": "const",
        "JAEGER_SAMPLER_PARAM": str(int(sampled)),
        "JAEGER_TRACEID_128BIT": str(wide).lower(),
        "JAEGER_REPORTER_FLUSH_INTERVAL": "50ms",
    }
    process = subprocess.Popen(
        [binary],
        env=os.environ | environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process.stdout.readline().split()
    finally:
        process.stdin.close()
        try:
            assert process.wait(SOON) == 0
        finally:
            process.kill()
            process.stdout.close()


def tracing_to(jaeger, service, *, wide, sampled):
    return tracekit.init(
        service,
        environ={},
        set_global=False,
        agent_port=jaeger.ports["compact"],
        sampler_type="const",
        sampler_param=int(sampled),
        traceid_128bit=wide,
        flush_s=0.05,
    )


def tree(spans):
    """Return (service, operation) of each span with that of its parent, sorted."""
    by_id = {span["spanID"]: span for span in spans}

    def called(span):
        return span and (span["process"]["serviceName"], span["operationName"])

    pairs = []
    for span in spans:
        refs = [each["spanID"] for each in span["references"] if each["refType"] == "CHILD_OF"]
        assert len(refs) <= 1
        pairs.append((called(span), called(by_id[refs[0]]) if refs else None))
    return pairs


def chain(spans):
    """Return the services of a trace that is one line of spans, from its root on."""
    parents = {span["spanID"]: span["references"] for span in spans}
    assert len([1 for refs in parents.values() if not refs]) == 1, "one root"
    for refs in parents.values():
        for ref in refs:
            assert ref["spanID"] in parents, "a span whose parent is not there"
    depth = {}

    def deep(span_id):
        if span_id not in depth:
            refs = parents[span_id]
            depth[span_id] = deep(refs[0]["spanID"]) + 1 if refs else 0
        return depth[span_id]

    ordered = sorted(spans, key=lambda span: deep(span["spanID"]))
    assert [deep(span["spanID"]) for span in ordered] == list(range(len(spans)))
    return [span["process"]["serviceName"] for span in ordered]


@pytest.mark.parametrize("mode", ["sampled", "unsampled", "debug"])
@pytest.mark.parametrize("wide", [False, True], ids=["64 bit", "128 bit"])
@pytest.mark.parametrize("wire", ["http", "grpc"])
@pytest.mark.parametrize("first", ["go", "py"])
def test_go_and_python_are_one_trace(jaeger, go_peer, noted, first, wire, wide, mode):
    """There and back, with baggage; what Go decided is obeyed, and what we decided by Go."""
    names = {each: f"{each}-{uuid.uuid4().hex[:8]}" for each in ("go", "py")}
    sampled = mode == "sampled"
    tracing = tracing_to(jaeger, names["py"], wide=wide, sampled=sampled)
    with (
        hops.Hop(tracing) as python,
        go(go_peer, jaeger, names["go"], wide=wide, sampled=sampled) as (go_http, go_grpc),
    ):
        at = {
            ("go", "http"): go_http,
            ("go", "grpc"): go_grpc,
            ("py", "http"): python.http,
            ("py", "grpc"): python.grpc,
        }
        second = "py" if first == "go" else "go"
        headers = {"x-route": f"{at[second, wire]},{at[first, wire]}", "x-set-baggage": "42"}
        if mode == "debug":
            headers["jaeger-debug-id"] = "look here"
        answer = requests.get(at[first, "http"], headers=headers, timeout=SOON)
        assert answer.text == f"{first}:42 {second}:42 {first}:42"
        assert tracing.flush(SOON)
    tracing.shutdown(SOON)
    what = f"{first}→{second}→{first}, {wire}, {128 if wide else 64} bit"
    if mode == "unsampled":
        time.sleep(0.2)
        assert not set(names.values()) & set(jaeger.api("services") or ())
        assert tracing.stats().unsampled == (2 if first == "go" else 3)
        noted("jaeger-client-go", what, "equal: nothing is reported")
        return
    spans = jaeger.search(names[first], 5)
    expected = [names[each] for each in (first, first, second, second, first)]
    assert chain(spans) == expected
    assert len({span["traceID"] for span in spans}) == 1
    assert len(spans[0]["traceID"]) == (32 if wide else 16)
    assert {span["flags"] for span in spans} == {3 if mode == "debug" else 1}
    if mode == "debug":
        (root,) = (span for span in spans if not span["references"])
        assert ("jaeger-debug-id", "look here") in {
            (tag["key"], tag["value"]) for tag in root["tags"] if tag["type"] == "string"
        }
    noted("jaeger-client-go", what, "equal: one trace of 5 spans, baggage too")


def test_jaeger_draws_the_dependencies(jaeger, go_peer):
    """Calls between Go and Python are edges of the graph that Jaeger derives from parents."""
    names = [f"dep-{each}-{uuid.uuid4().hex[:8]}" for each in ("go", "py")]
    tracing = tracing_to(jaeger, names[1], wide=True, sampled=True)
    with (
        hops.Hop(tracing) as python,
        go(go_peer, jaeger, names[0], wide=True, sampled=True) as (go_http, _),
    ):
        for _ in range(3):
            requests.get(go_http, headers={"x-route": python.http}, timeout=SOON)
        assert tracing.flush(SOON)
    tracing.shutdown(SOON)
    jaeger.search(names[0], 9)
    edges = jaeger.api("dependencies", endTs=int(time.time() * 1000), lookback=3_600_000)
    assert {"parent": names[0], "child": names[1], "callCount": 3} in [
        {key: edge[key] for key in ("parent", "child", "callCount")} for edge in edges
    ]


PROGRAM = HERE / "beside.py"


@pytest.mark.parametrize("peer", ["jaeger-client", "opentelemetry-sdk"])
def test_a_program_leaves_the_same_tree(jaeger, noted, peer):
    """Ours and a peer's in one process each, into the same Jaeger."""
    trees = {}
    for who in ("tracekit", peer):
        service = f"beside-{uuid.uuid4().hex[:8]}"
        ports = [str(jaeger.ports[name]) for name in ("compact", "otlp_http")]
        done = subprocess.run(
            [sys.executable, PROGRAM, who, peer, service, *ports],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        spans = jaeger.search(service, 8)
        trees[who] = sorted(
            (child[1], parent[1] if parent else "") for child, parent in tree(spans)
        )
        version = done.stdout.strip()
    assert trees["tracekit"] == trees[peer]
    noted(f"{peer} {version}", "the same program", f"equal: {len(trees[peer])} spans, one tree")
