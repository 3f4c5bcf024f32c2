"""A request whose server has taken ``app.wsgi_app`` before it was ours.

``DispatcherMiddleware``, connexion and ``socketio.WSGIApp`` keep the bound method, so no request of
theirs comes by the WSGI middleware; but Flask makes and pops its context all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import flask

from tracekit.wsgi._body import Body

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextvars import Token

    from opentelemetry.context import Context

    from tracekit.wsgi._exchange import Exchange


class Late:
    """One exchange from the first push of Flask's context to its first pop, or a stream's end.

    ``stream_with_context`` pushes it once more, and pops it when the server has the last piece.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._answer: flask.Response | None = None
        self._token: Token[Context] | None = None
        self._pushes = 0

    def push(self) -> None:
        """Make the span current; Flask's own code follows."""
        self._pushes += 1
        if self._pushes == 1:
            self._token = self._exchange.enter()

    def pushed(self) -> None:
        """Learn which response there will be; Flask's context is there."""
        if self._pushes == 1:
            flask.after_this_request(self._answered)

    def pop(self, error: object) -> None:
        """End the exchange, unless its body is still to come."""
        token, self._token = self._token, None
        if token is None:
            return
        exchange, response = self._exchange, self._answer
        exchange.leave(token)
        if response is None:
            exchange.over(error if isinstance(error, BaseException) else None)
            return
        exchange.status = response.status_code
        if not isinstance(response.response, Body):
            exchange.over()

    def _answered(self, response: flask.Response) -> flask.Response:
        self._answer = response
        if response.is_streamed and not response.direct_passthrough:
            # Current for each piece, too. (A file that its server sends stays as it is.)
            response.response = Body(cast("Iterable[bytes]", response.response), self._exchange)
        return response
