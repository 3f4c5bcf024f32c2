"""The route of a request before Flask has matched it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from flask import Flask


def matched(app: Flask, environ: WSGIEnvironment) -> tuple[str | None, str]:
    """Match a request ahead of Flask, for a sampler that decides by operation.

    Only where that can have no effect: converters of the application's own may want its context.
    """
    try:
        if not _converters_are_plain(app):
            return None, ""
        adapter = app.create_url_adapter(app.request_class(environ))
        if adapter is None:
            return None, ""
        rule, _ = adapter.match(return_rule=True)
    except Exception:  # not found, wrong method, redirect to a slash, untrusted host
        return None, ""
    return f"{environ.get('SCRIPT_NAME') or ''}{rule.rule}", rule.endpoint


def _converters_are_plain(app: Flask) -> bool:
    return all(
        kind.__module__ == "werkzeug.routing.converters" for kind in app.url_map.converters.values()
    )
