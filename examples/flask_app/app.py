"""The frontend of the ride-dispatch shop, and its route service: one app, two processes.

    export JAEGER_SAMPLER_TYPE=const JAEGER_SAMPLER_PARAM=1
    JAEGER_SERVICE_NAME=route    python examples/flask_app/app.py --port 8081
    JAEGER_SERVICE_NAME=frontend python examples/flask_app/app.py --port 8080

    curl 'http://127.0.0.1:8080/dispatch?customer=123'

``/dispatch`` asks the gRPC service next door (../grpc_service) for cars, the second process of
this app for a route to each of them, and follows the best one. Customer 731 lives where nobody
drives: that is the error to look for. ``/metrics`` is for Prometheus.
"""

from __future__ import annotations

import argparse
import logging.config
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import requests
import routes
from flask import Flask, request
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from werkzeug.serving import make_server

import tracekit.grpc
import tracekit.requests
from tracekit.flask import FlaskTracing
from tracekit.prometheus import collector

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "grpc_service"))
rides, services = grpc.protos_and_services("driver.proto")

log = logging.getLogger(__name__)
REGISTRY.register(collector())
CUSTOMERS = {"123": "Harbour Street", "392": "Mill Lane", "731": "Far Island"}


def create_app(driver: str, router: str) -> Flask:
    """Return the app; ``driver`` is the gRPC service's host:port, ``router`` the other's URL."""
    tracekit.init()
    tracekit.requests.instrument()
    app = Flask(__name__)
    FlaskTracing(app)
    drivers = services.DriverStub(tracekit.grpc.trace_channel(grpc.insecure_channel(driver)))

    @app.get("/dispatch")
    def dispatch():
        customer = request.args.get("customer")
        street = CUSTOMERS.get(customer)
        if street is None:
            return {"error": "no such customer"}, 404
        try:
            cars = drivers.Nearest(rides.Place(street=street), timeout=10).cars
        except grpc.RpcError as error:
            log.warning("no car for customer %s: %s", customer, error.details())
            return {"error": error.details()}, 503
        with tracekit.wrap_executor(ThreadPoolExecutor()) as pool:
            waits = {car.id: pool.submit(minutes_to, car, street) for car in cars}
            minutes, car_id = min((wait.result(), car_id) for car_id, wait in waits.items())
        way = drivers.Track(rides.Trip(car_id=car_id, street=street), timeout=10)
        blocks = [position.blocks_away for position in way]
        log.info("%s reached customer %s", car_id, customer)
        return {"car": car_id, "minutes": minutes, "blocks": blocks}

    def minutes_to(car, street):
        asked = {"car": car.id, "blocks": car.blocks_away, "street": street}
        answer = requests.get(f"{router}/route", params=asked, timeout=10)
        answer.raise_for_status()
        return answer.json()["minutes"]

    @app.get("/route")
    def route():
        # The frontend passed the mesh's id of the request on without a line of ours.
        request_id = request.headers.get("x-request-id", "")
        car, blocks = request.args["car"], int(request.args["blocks"])
        return {"minutes": routes.minutes(car, blocks, request_id)}

    @app.get("/metrics")
    def metrics():
        return generate_latest(), {"Content-Type": CONTENT_TYPE_LATEST}

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Frontend and route service of the ride shop.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8080, help="0: any free one")
    parser.add_argument("--driver", default="127.0.0.1:50051", help="host:port of the gRPC service")
    parser.add_argument(
        "--router", default="http://127.0.0.1:8081", help="URL of the route service"
    )
    options = parser.parse_args()
    logging.config.fileConfig(HERE / "logging.ini", disable_existing_loggers=False)
    app = create_app(options.driver, options.router)
    server = make_server(options.host, options.port, app, threaded=True)
    print(f"listening on {options.host}:{server.port}", flush=True)
    server.serve_forever()
