"""The driver service on asyncio: started by ``server.py --aio``."""

from __future__ import annotations

import asyncio

import fleet
import grpc

import tracekit.grpc.aio

rides, services = grpc.protos_and_services("driver.proto")


class Driver(services.DriverServicer):
    """The same four methods as coroutines and asynchronous generators."""

    async def Nearest(self, place, context):
        try:
            cars = await asyncio.to_thread(fleet.nearest, place.street)
        except LookupError as error:
            await context.abort(grpc.StatusCode.NOT_FOUND, str(error))
        return rides.Cars(cars=[rides.Car(id=id_, blocks_away=n) for id_, n in cars.items()])

    async def Track(self, trip, context):
        for blocks in fleet.way(fleet.CARS[trip.car_id]):
            yield rides.Position(car_id=trip.car_id, blocks_away=blocks)
            await asyncio.sleep(0.01)

    async def Report(self, positions, context):
        seen = [position.blocks_away async for position in positions]
        return rides.Distance(blocks=max(seen) - min(seen))

    async def Negotiate(self, fares, context):
        async for fare in fares:
            cents, agreed = fleet.counter_offer(fare.cents)
            yield rides.Fare(cents=cents, agreed=agreed)


async def serve(address: str) -> None:
    server = grpc.aio.server(interceptors=[tracekit.grpc.aio.server_interceptor()])
    services.add_DriverServicer_to_server(Driver(), server)
    port = server.add_insecure_port(address)
    await server.start()
    print(f"driver is listening on {address.rpartition(':')[0]}:{port}", flush=True)
    await server.wait_for_termination()
