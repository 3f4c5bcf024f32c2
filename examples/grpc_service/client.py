"""A car's ride from the passenger's side: one call of each kind, in one trace.

It asks the driver service (server.py in this directory).

    export JAEGER_SAMPLER_TYPE=const JAEGER_SAMPLER_PARAM=1
    JAEGER_SERVICE_NAME=passenger python examples/grpc_service/client.py
"""

from __future__ import annotations

import argparse

import grpc

import tracekit.grpc

rides, services = grpc.protos_and_services("driver.proto")


def ride(driver) -> None:
    cars = driver.Nearest(rides.Place(street="Harbour Street"), timeout=10).cars
    car = min(cars, key=lambda car: car.blocks_away)
    print(f"nearest: {car.id}, {car.blocks_away} blocks away")

    trip = rides.Trip(car_id=car.id, street="Harbour Street")
    positions = list(driver.Track(trip, timeout=10))
    print("tracked:", *[position.blocks_away for position in positions])

    print(f"reported: {driver.Report(iter(positions), timeout=10).blocks} blocks")

    offers = (rides.Fare(cents=cents) for cents in (500, 800, 950))
    answers = list(driver.Negotiate(offers, timeout=10))
    print("agreed:", next(fare.cents for fare in answers if fare.agreed))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Take a ride: one gRPC call of each kind.")
    parser.add_argument("--driver", default="127.0.0.1:50051", help="host:port of server.py")
    options = parser.parse_args()
    tracekit.init()
    with (
        tracekit.grpc.trace_channel(grpc.insecure_channel(options.driver)) as channel,
        tracekit.get_tracer("client").start_as_current_span("ride"),
    ):
        ride(services.DriverStub(channel))
    tracekit.shutdown()
