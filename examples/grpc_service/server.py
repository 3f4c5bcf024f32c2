"""The driver service of the ride-dispatch shop.

    export JAEGER_SAMPLER_TYPE=const JAEGER_SAMPLER_PARAM=1
    JAEGER_SERVICE_NAME=driver python examples/grpc_service/server.py

``--aio`` serves the same from asyncio. The stubs are made from driver.proto at the start.
"""

from __future__ import annotations

import argparse
import asyncio
import logging.config
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fleet
import grpc

import tracekit.grpc

HERE = Path(__file__).parent
rides, services = grpc.protos_and_services("driver.proto")


class Driver(services.DriverServicer):
    """One method for each kind of call; none of them knows about tracing."""

    def Nearest(self, place, context):
        try:
            cars = fleet.nearest(place.street)
        except LookupError as error:
            context.abort(grpc.StatusCode.NOT_FOUND, str(error))
        return rides.Cars(cars=[rides.Car(id=id_, blocks_away=n) for id_, n in cars.items()])

    def Track(self, trip, context):
        for blocks in fleet.way(fleet.CARS[trip.car_id]):
            yield rides.Position(car_id=trip.car_id, blocks_away=blocks)
            time.sleep(0.01)

    def Report(self, positions, context):
        seen = [position.blocks_away for position in positions]
        return rides.Distance(blocks=max(seen) - min(seen))

    def Negotiate(self, fares, context):
        for fare in fares:
            cents, agreed = fleet.counter_offer(fare.cents)
            yield rides.Fare(cents=cents, agreed=agreed)


def serve(address: str) -> None:
    server = grpc.server(ThreadPoolExecutor(8), interceptors=[tracekit.grpc.server_interceptor()])
    services.add_DriverServicer_to_server(Driver(), server)
    port = server.add_insecure_port(address)
    server.start()
    print(f"driver is listening on {address.rpartition(':')[0]}:{port}", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The driver service of the ride-dispatch shop.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=50051, help="0: any free one")
    parser.add_argument("--aio", action="store_true", help="serve from asyncio")
    options = parser.parse_args()
    logging.config.fileConfig(HERE / "logging.ini", disable_existing_loggers=False)
    tracekit.init()
    if options.aio:
        import server_aio

        asyncio.run(server_aio.serve(f"{options.host}:{options.port}"))
    else:
        serve(f"{options.host}:{options.port}")
