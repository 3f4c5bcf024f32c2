"""The example service and, at paths that are not traced, its figures by other ways."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "flask_app"))

import app as example
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from werkzeug.serving import make_server

import tracekit

application = example.create_app("127.0.0.1:1", "http://127.0.0.1:1")


@application.get("/live")
def stats():
    return tracekit.stats().as_dict() | {"pid": os.getpid()}


@application.get("/ready")
def all_workers():
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return generate_latest(registry), {"Content-Type": CONTENT_TYPE_LATEST}


if __name__ == "__main__":
    server = make_server("127.0.0.1", 0, application, threaded=True)
    print(f"listening on 127.0.0.1:{server.port}", flush=True)
    server.serve_forever()
