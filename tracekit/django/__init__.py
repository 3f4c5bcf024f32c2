"""Trace a Django project, under WSGI and under ASGI.

::

    MIDDLEWARE = ["tracekit.django.Middleware", ...]
    TRACEKIT = {"exclude": ["/healthz"]}    # if anything is to be different

One span a request, named by the URL pattern, until the response has been sent and closed. The
middleware belongs first: what stands before it is not in the span.
"""

from __future__ import annotations

try:
    import django  # noqa: F401 (only to say what is missing)
except ImportError as error:
    raise ImportError(
        "tracekit.django needs Django: pip install 'tracekit-jaeger[django]'"
    ) from error

from tracekit._calls.http import DEFAULT_EXCLUDE
from tracekit.django._middleware import Middleware

__all__ = ["DEFAULT_EXCLUDE", "Middleware"]
