"""A FastAPI application whose clients leave, bare or traced (``TRACED``), for a server to import.

It tells what it learned of that, each of its endpoints in its own way.
"""

from __future__ import annotations

import asyncio
import contextlib
import os

import fastapi
from fastapi.responses import StreamingResponse

import tracekit.asgi
import tracekit.fastapi
import tracekit.testing

tracing = tracekit.testing.tracing(propagation="jaeger")
TRACED = os.environ.get("TRACED", "")
LONG = 1000
learned = []
app = fastapi.FastAPI()
inner = fastapi.FastAPI()
router = fastapi.APIRouter(prefix="/v1")


@contextlib.contextmanager
def telling(what):
    try:
        yield
    except BaseException as error:
        learned.append([what, type(error).__name__])
        raise
    learned.append([what, None])


@router.get("/stream/{name}")
async def stream(name: str, tasks: fastapi.BackgroundTasks):
    async def pieces():
        with telling("stream"):
            for _ in range(LONG):
                yield b"x" * 1000
                await asyncio.sleep(0.02)

    tasks.add_task(learned.append, ["task", None])
    return StreamingResponse(pieces(), background=tasks)


@inner.get("/asking/{name}")
async def asking(name: str, request: fastapi.Request):
    with telling("asking"):
        for _ in range(LONG):
            if await request.is_disconnected():
                break
            await asyncio.sleep(0.02)


@app.post("/upload")
async def upload(request: fastapi.Request):
    with telling("upload"):
        return len(await request.body())


@app.get("/learned")
async def told():
    return sorted(learned)


@app.get("/spans")
async def spans():
    names = ("http.response.status_code", "error.type", "response.aborted")
    return [
        [span.name, *map(span.attributes.get, names)]
        for span in tracing.sink.spans
        if span.name not in {"GET /learned", "GET /spans"}
    ]


app.include_router(router)
app.mount("/inner", inner)
if TRACED == "init_app":
    tracekit.fastapi.init_app(app, tracing)
elif TRACED == "add_middleware":
    app.add_middleware(tracekit.asgi.middleware, tracing=tracing)
elif TRACED == "outside":
    app = tracekit.asgi.middleware(app, tracing)
