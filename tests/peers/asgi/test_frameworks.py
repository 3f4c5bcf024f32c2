"""One span a request under each framework that speaks ASGI, named by its route."""

from __future__ import annotations

import asyncio

import httpx
import pytest

import tracekit.asgi
import tracekit.fastapi

CALLER = {"uber-trace-id": "00000000000000ab:00000000000000cd:0:1", "x-request-id": "r-1"}


def fastapi_app():
    import fastapi
    from fastapi.responses import StreamingResponse

    app = fastapi.FastAPI()
    router = fastapi.APIRouter(prefix="/v1")
    inner = fastapi.FastAPI()

    @app.get("/users/{user}")
    def user(user: str):
        return {"user": user}

    @router.get("/users/{user}")
    async def user_v1(user: str):
        return {"user": user}

    @inner.get("/users/{user}")
    async def user_inner(user: str):
        return {"user": user}

    @app.get("/fails")
    async def fails():
        raise KeyError("gone")

    @app.get("/stream")
    async def stream():
        async def pieces():
            for piece in b"abc":
                yield bytes([piece])

        return StreamingResponse(pieces())

    @app.get("/healthz")
    async def healthz():
        return "ok"

    app.include_router(router)
    app.mount("/inner/{tenant}", inner)
    return app


def starlette_app():
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse, StreamingResponse
    from starlette.routing import Mount, Route

    async def user(request):
        return PlainTextResponse(request.path_params["user"])

    async def fails(request):
        raise KeyError("gone")

    async def stream(request):
        async def pieces():
            for piece in b"abc":
                yield bytes([piece])

        return StreamingResponse(pieces())

    async def healthz(request):
        return PlainTextResponse("ok")

    return Starlette(
        routes=[
            Route("/users/{user}", user),
            Route("/fails", fails),
            Route("/stream", stream),
            Route("/healthz", healthz),
            Mount("/v1", routes=[Route("/users/{user}", user)]),
            Mount("/inner/{tenant}", routes=[Route("/users/{user}", user)]),
        ]
    )


APPS = {"fastapi": fastapi_app, "starlette": starlette_app}


def asked(app, path, headers=CALLER, **options):
    async def ask():
        transport = httpx.ASGITransport(app, raise_app_exceptions=False, **options)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(ask())


@pytest.fixture(params=APPS)
def make(request):
    return APPS[request.param]


@pytest.fixture(params=["outside", "init_app", "add_middleware"])
def traced(request, make, tracing):
    app = make()
    if request.param == "outside":
        return tracekit.asgi.middleware(app, tracing)
    if request.param == "init_app":
        tracekit.fastapi.init_app(app, tracing)
    else:
        app.add_middleware(tracekit.asgi.middleware, tracing=tracing)
    return app


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/users/ada", "/users/{user}"),
        ("/v1/users/ada", "/v1/users/{user}"),
        ("/inner/shop/users/ada", "/inner/{tenant}/users/{user}"),
        ("/stream", "/stream"),
        ("/fails", "/fails"),
    ],
)
def test_a_request_is_named_by_its_route(traced, make, tracing, path, route):
    """The answer is the bare application's; the span is the caller's child."""
    bare, got = asked(make(), path), asked(traced, path)
    assert (got.status_code, got.content) == (bare.status_code, bare.content)
    (span,) = tracing.sink.spans
    assert span.name == f"GET {route}"
    assert span.attributes["http.route"] == route
    assert span.parent.span_id == 0xCD
    failed = path == "/fails"
    assert [event.name for event in span.events] == ["exception"] * failed
    assert span.attributes.get("error.type") == ("KeyError" if failed else None)


def test_probes_and_unknown_paths(traced, make, tracing):
    """A path that matches nothing is called by its method alone."""
    assert asked(traced, "/healthz").status_code == 200
    assert asked(traced, "/nowhere").status_code == 404
    assert [span.name for span in tracing.sink.spans] == ["GET"]


def test_a_proxys_prefix_is_told_once(make, tracing):
    """``root_path`` belongs to the path and to the route."""
    app = tracekit.asgi.middleware(make(), tracing)
    for path in ("/shop/users/ada", "/users/ada"):
        assert asked(app, path, root_path="/shop").status_code == 200
    assert {span.name for span in tracing.sink.spans} == {"GET /shop/users/{user}"}
    assert {span.attributes["url.path"] for span in tracing.sink.spans} == {"/shop/users/ada"}


def test_an_application_is_traced_once(make, tracing, caplog):
    """``init_app`` again does nothing; on something else it warns, and that stays as it is."""
    app = make()
    kind = type(app)
    for _ in range(2):
        tracekit.fastapi.init_app(app, tracing)
    assert isinstance(app, kind)
    asked(app, "/users/ada")
    assert len(tracing.sink.spans) == 1
    for other in (object(), 3, lambda: None):
        tracekit.fastapi.init_app(other, tracing)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 3


def test_patterns_of_an_endpoint_stay_apart(tracing):
    """Starlette leaves the endpoint alone: then the path decides."""
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    async def user(request):
        return PlainTextResponse("ok")

    app = Starlette(routes=[Route("/a/{user}", user), Route("/b/{name}", user)])
    tracekit.fastapi.init_app(app, tracing)
    for path in ("/a/1", "/b/1"):
        asked(app, path)
    assert [span.name for span in tracing.sink.spans] == ["GET /a/{user}", "GET /b/{name}"]
