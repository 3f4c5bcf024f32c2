"""Carry a mesh's headers from the request you serve to the requests you make.

::

    headers = tracekit.mesh.forward_headers(request.headers)
    requests.get(url, headers=headers)

This is the function that every Istio tutorial has people paste into their service. It needs no
``init``, keeps nothing, and works beside tracing that forwards on its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracekit.propagation._forwarding import application_names, select
from tracekit.propagation._headers import collect, pairs_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["forward_headers"]


def forward_headers(
    headers: Mapping[str, object] | Iterable[tuple[str | bytes, object]],
    allow: Iterable[str] = (),
) -> dict[str, str]:
    """Return those of an incoming request's ``headers`` that belong on every outgoing one.

    ``headers`` may be Flask's or Django's ``request.headers``, Django's ``META``, a WSGI environ,
    Starlette's headers, gRPC metadata, or any mapping or pairs. The trace headers and
    ``x-request-id`` are returned, values unchanged, names in lower case, nothing empty; of the
    application headers (``end-user``, ``cookie``, ``authorization`` …) only those that ``allow``
    lists, and never what belongs to one request (``content-length``, ``transfer-encoding`` …).
    Pure; never raises over what arrived.
    """
    return select(collect(pairs_of(headers)).items(), application_names(allow))
