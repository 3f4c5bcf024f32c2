"""Carriers: what ``jaeger_client`` writes we write, and what it reads we read."""

from __future__ import annotations

from pathlib import Path

import pytest
from opentracing import Format

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
WIDE = (1 << 128) - 1
CONTEXTS = [
    [1, 2, None, 1],
    [WIDE, (1 << 64) - 1, (1 << 64) - 1, 3],
    [10, 11, 12, 0],
    [10, 11, 12, 9],
    [10, 11, 12, 1, {"plain": "v", "blank": "a b", "percent": "50%", "comma": "a,b;c=d"}],
    [10, 11, 12, 1, {"umlaut": "ä", "emoji": "\U0001f47e", "query": "a?b#c"}],
]
LINE = "uber-trace-id"
TEXTS = [
    {},
    {"accept": "*/*"},
    {LINE: "abc:def:0:1"},
    {LINE.upper(): "ABC:DEF:9:3"},
    {LINE: f"{WIDE:x}:1:2:1"},
    {LINE: "abc:def:0:0", "uberctx-Key": "a%20b", "UBERCTX-two": "50% of it"},
    {"uberctx-alone": "a"},
    {"jaeger-debug-id": "find me"},
    {"jaeger-debug-id": "find me", "uberctx-a": "b"},
    {LINE: "abc:def:0:1", "jaeger-baggage": "key=1, other=2,odd"},
    {LINE: "malformed"},
    {LINE: "0:1:0:1"},
    {LINE: "1:0:0:1"},
    {LINE: "1:1:1"},
]
QUESTIONS = [{"write": context} for context in CONTEXTS]
QUESTIONS += [
    {"form": form, "read": text}
    for text in TEXTS
    for form in (Format.TEXT_MAP, Format.HTTP_HEADERS)
]
ON_PURPOSE = [
    {"write": [10, 11, 12, 1, {"slash": "/"}]},  # %2F, as any other delimiter
    {"form": Format.TEXT_MAP, "read": {LINE: "abc%3Adef%3A0%3A1"}},  # some proxy has encoded it
    {"form": Format.TEXT_MAP, "read": {"jaeger-debug-id": "find%20me"}},  # likewise
    {"form": Format.HTTP_HEADERS, "read": {"jaeger-baggage": "key = 1"}},  # without the blanks
]
"""Where we write or read something else than jaeger_client."""


@pytest.fixture(scope="module")
def answers(ask_both):
    """Return the question with both answers, for each question."""
    theirs, ours = ask_both("carriers.py", QUESTIONS)
    return list(zip(QUESTIONS, theirs, ours, strict=True))


def test_the_same_is_written(answers):
    """Percent-encoded in headers, as it is in text maps, byte for byte in binary."""
    written = [answer for answer in answers if "write" in answer[0]]
    assert len(written) == len(CONTEXTS)
    for question, theirs, ours in written:
        assert (question, ours) == (question, theirs)


def test_the_same_is_read(answers):
    """In any letter case; where jaeger_client raises there is no parent."""
    for question, theirs, ours in answers:
        if "read" in question:
            assert (question, ours) == (question, theirs)


def test_differences_are_few_and_known(ask_both):
    """Each is one indeed."""
    theirs, ours = ask_both("carriers.py", ON_PURPOSE)
    for question, before, now in zip(ON_PURPOSE, theirs, ours, strict=True):
        assert (question, now) != (question, before)


def test_each_reads_what_the_other_writes(ask_both, answers):
    """Binary carriers too: services of either kind may sit at both ends of a queue."""
    written = [
        (question["write"], theirs) for question, theirs, _ in answers if "write" in question
    ]
    questions = [{"form": Format.BINARY, "read": theirs[Format.BINARY]} for _, theirs in written]
    theirs, ours = ask_both("carriers.py", questions)
    assert ours == theirs
    for (parts, _), found in zip(written, ours, strict=True):
        assert found["ids"] == parts[:4]
        assert found["baggage"] == (parts[4] if parts[4:] else {})
