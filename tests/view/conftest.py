"""Fixtures of the tests that run ``tracekit view``."""

from __future__ import annotations

import json

import pytest
import urllib3
from running_view import View


@pytest.fixture
def view():
    started = []

    def start(*arguments, **options):
        started.append(View(*arguments, **options))
        return started[-1]

    yield start
    for each in started:
        each.kill()


@pytest.fixture
def send():
    def send(port, *spans, service="shop"):
        request = {
            "resourceSpans": [
                {
                    "resource": {
                        "attributes": [{"key": "service.name", "value": {"stringValue": service}}]
                    },
                    "scopeSpans": [{"spans": list(spans)}],
                }
            ]
        }
        answer = urllib3.request(
            "POST",
            f"http://127.0.0.1:{port}/v1/traces",
            body=json.dumps(request),
            headers={"Content-Type": "application/json"},
            retries=False,
        )
        assert answer.status == 200, answer.data

    return send
