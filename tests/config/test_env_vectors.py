"""The contract's vectors: what the Jaeger clients' own test suites say about their variables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tracekit.errors import ConfigError
from tracekit.settings import Settings

VECTORS = Path(__file__).parents[1] / "vectors"
CASES = [
    case
    for name in ("env.json", "jaeger_tags.json")
    for case in json.loads((VECTORS / name).read_text(encoding="utf-8"))["cases"]
]


def check(settings, key, expected):
    flat = settings.flat()
    if key == "error":
        return bool(settings.problems) is expected
    if key == "message_has":
        return all(any(part in str(bad) for bad in settings.problems) for part in expected)
    if key == "tags_has":
        return expected.items() <= flat["tags"].items()
    if key.endswith("_has"):
        return expected in flat[key.removesuffix("_has")]
    return flat[key] == expected


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_the_clients_own_cases(case):
    """Every expectation of the vector holds."""
    settings = Settings.from_env(case["env"])
    failed = {
        key: expected
        for key, expected in case["expect"].items()
        if not check(settings, key, expected)
    }
    assert failed == {}, settings.flat()


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case["expect"].get("error")],
    ids=lambda case: case["id"],
)
def test_strict_raises_the_same_report(case):
    """What Go refuses, strict refuses, with the problems that are only told otherwise."""
    with pytest.raises(ConfigError) as caught:
        Settings.from_env(case["env"], strict=True)
    assert caught.value.problems == Settings.from_env(case["env"]).problems
