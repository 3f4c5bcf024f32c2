"""The Django project of tests that run in one process, each with URLs of its own."""

from __future__ import annotations

import sys
import types

import django
from django.conf import settings

DEFAULT_URLS = "tracekit_test_urls"


def urls_called(name):
    """Set Django up, once, and return a new module of URLs."""
    if not settings.configured:
        settings.configure(
            ROOT_URLCONF=DEFAULT_URLS,
            ALLOWED_HOSTS=["*"],
            SECRET_KEY="x",
            MIDDLEWARE=[],
            DEBUG_PROPAGATE_EXCEPTIONS=False,
            LOGGING_CONFIG=None,
        )
        django.setup()
    urls = sys.modules[name] = types.ModuleType(name)
    return urls


async def body_of(response):
    """Read what ``AsyncClient`` was answered, in whatever shape that is, and close it."""
    if not response.streaming:
        body = response.content
    elif response.is_async:
        body = b"".join([piece async for piece in response])
    else:
        body = b"".join(response)
    response.close()
    return body
