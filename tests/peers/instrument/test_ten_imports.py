"""A program of ten libraries without a line of tracing: one trace, right parents, no secrets."""

from __future__ import annotations

import pytest

for name in ("fastapi", "uvicorn", "httpx", "fakeredis", "sqlalchemy", "celery", "boto3", "kafka"):
    pytest.importorskip(name)
pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

FRONT = """
    import logging
    import os
    import threading

    import boto3
    import celery
    import fakeredis
    import grpc
    import httpx
    import kafka
    import requests
    import sqlalchemy
    from botocore.awsrequest import AWSResponse
    from fastapi import FastAPI
    from unittest import mock

    app = FastAPI()
    log = logging.getLogger("front")
    logging.basicConfig(level="INFO", format="%(trace_id)s %(message)s")
    store = fakeredis.FakeRedis()
    engine = sqlalchemy.create_engine("sqlite://", poolclass=sqlalchemy.pool.StaticPool,
                                      connect_args={"check_same_thread": False})
    tasks = celery.Celery("front", broker="memory://")
    tasks.conf.task_always_eager = True
    back = os.environ["BACK"]
    channel = grpc.insecure_channel(os.environ["GRPC"])

    @tasks.task
    def pack(order):
        requests.get(f"{back}/packed?token=s3cret", timeout=10).raise_for_status()

    @app.get("/healthz")
    def healthz():
        return "ok"

    @app.get("/orders/{order}")
    def orders(order: int):
        log.info("order")
        store.set("order", order)
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text("SELECT 1"))
        with httpx.Client() as client:
            client.get(f"http://user:s3cret@{back[7:]}/stock").raise_for_status()
        channel.unary_unary("/shop.Prices/Get")(b"")
        pack.delay(order)
        s3 = boto3.client("s3", region_name="eu-west-1", aws_access_key_id="a",
                          aws_secret_access_key="s3cret")
        raw = mock.Mock()
        raw.stream = lambda *_args, **_named: iter([b""])
        answer = AWSResponse("https://s3.amazonaws.com", 200, {}, raw)
        with mock.patch("botocore.httpsession.URLLib3Session.send", return_value=answer):
            s3.list_buckets()
        with mock.patch("kafka.KafkaProducer.__init__", return_value=None):
            producer = kafka.KafkaProducer()
        producer.config = {"bootstrap_servers": "kafka:9092"}
        producer._closed = True
        try:
            producer.send("orders", b"1")
        except Exception:
            pass
        return order
"""
BACK = """
    import os
    from concurrent import futures
    import flask
    import grpc

    app = flask.Flask("back")
    seen = []

    @app.get("/<path>")
    def any(path):
        seen.append([path, flask.request.headers.get("x-request-id")])
        return "ok"

    @app.get("/seen/")
    def tell():
        return flask.jsonify(seen)

    def get(request, context):
        seen.append(["grpc", dict(context.invocation_metadata()).get("x-request-id")])
        return b""

    handler = grpc.unary_unary_rpc_method_handler(get)
    generic = grpc.method_handlers_generic_handler("shop.Prices", {"Get": handler})
    server = grpc.server(futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((generic,))
    server.add_insecure_port("127.0.0.1:" + os.environ["GRPC_PORT"])
    server.start()
    app.run("127.0.0.1", int(os.environ["PORT"]))
"""


def free_ports(count):
    import socket

    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def test_ten_imports_make_one_trace(write, serve, agent, wait_until, tmp_path):
    """With the right parents and the mesh's headers.

    FastAPI, httpx, redis, SQLAlchemy, Celery, boto3, Kafka, gRPC, requests and logging.
    """
    import urllib3

    write(front=FRONT, back=BACK)
    front, back, rpc = free_ports(3)
    serve("python", "back.py", PORT=str(back), GRPC_PORT=str(rpc), JAEGER_SERVICE_NAME="back")
    serve(
        "uvicorn", "front:app", "--port", str(front), JAEGER_SERVICE_NAME="front",
        BACK=f"http://127.0.0.1:{back}", GRPC=f"127.0.0.1:{rpc}",
    )  # fmt: skip
    http = urllib3.PoolManager(retries=False, timeout=30)
    base = f"http://127.0.0.1:{front}"

    def up():
        try:
            return http.request("GET", f"{base}/healthz").status == 200
        except urllib3.exceptions.HTTPError:
            return False

    wait_until(up, tmp_path / "log")
    answer = http.request("GET", f"{base}/orders/7", headers={"x-request-id": "r-1"})
    assert answer.status == 200, (tmp_path / "log").read_text()
    seen = http.request("GET", f"http://127.0.0.1:{back}/seen/").json()
    assert sorted(hop for hop in seen) == [["grpc", "r-1"], ["packed", "r-1"], ["stock", "r-1"]]

    wait_until(lambda: len(tree(agent.spans())) >= 12, "spans", timeout_s=15)
    spans = [span for span in agent.spans() if "seen" not in span.operation]
    assert len({span.trace_id for span in spans}) == 1, shown(spans)
    assert not [span for span in spans if "healthz" in str(span)]
    assert "s3cret" not in str(spans)
    found = tree(spans)
    root = ("front", "GET /orders/{order}", "server")
    task = ("front", "process front.pack", "consumer")
    for child, parent in (
        (("front", "SET", "client"), root),
        (("front", "GET", "client"), root),
        (("back", "GET /<path>", "server"), ("front", "GET", "client")),
        (("back", "shop.Prices/Get", "server"), ("front", "shop.Prices/Get", "client")),
        (("front", "shop.Prices/Get", "client"), root),
        (task, root),
        (("front", "GET", "client"), task),
        (("front", "S3.ListBuckets", "client"), root),
        (("front", "orders send", "producer"), root),
    ):
        assert (child, parent) in found, shown(spans)
    assert any(child[1].startswith("SELECT") and parent == root for child, parent in found)
    exchanged = [(child, parent) for child, parent in found if child[1:] == ("GET", "client")]
    assert len(exchanged) == 2, shown(spans)  # urllib3 makes no second one of what requests sends
    trace_id = f"{spans[0].trace_id:032x}"
    assert f"{trace_id} order" in (tmp_path / "log").read_text()


def tree(spans):
    """Return each span with its parent, told by service, operation and kind."""
    by_id = {span.span_id: span for span in spans}
    return [(told(span), told(by_id.get(span.parent_id))) for span in spans]


def told(span):
    return span and (span.service, span.operation, span.kind)


def shown(spans):
    return "\n".join(map(str, tree(spans)))
