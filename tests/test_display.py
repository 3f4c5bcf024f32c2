"""What is shown of text from outside, and of addresses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit._display import MAX_QUOTED, cited, masked, quoted

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=5000)


@given(ANY_TEXT, st.integers(2, 500))
def test_quoted_text_is_one_bounded_line(text, limit):
    """Whatever was sent: no control character, no more characters than the limit."""
    line = quoted(text, limit)
    assert line.isprintable()
    assert len(line) <= limit


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain words", "plain words"),
        ("down\r\n2026-01-01 ERROR forged", "down 2026-01-01 ERROR forged"),
        ("\x1b[2J\x00\x07", r"\x1b[2J\x00\x07"),
        ("a\u202eb\u2028c\x85d", "a\\u202eb c d"),
        ("\ud800", r"\ud800"),
        ("Zürich 東京", "Zürich 東京"),
        (b"\xff\x1b ok", "\ufffd\\x1b ok"),
        (None, "None"),
        (OSError(), "OSError"),
        ("", ""),
    ],
)
def test_quoted_text_can_be_read(text, line):
    """Breaks are blanks; what else cannot be printed is escaped."""
    assert quoted(text) == line


def test_a_cut_is_seen():
    """An ellipsis stands for what is left out, and only then."""
    assert quoted("x" * MAX_QUOTED) == "x" * MAX_QUOTED
    assert quoted("x" * 60_000) == "x" * (MAX_QUOTED - 1) + "…"
    assert len(quoted("\x00" * 60_000)) == MAX_QUOTED
    assert quoted("\n" * 60_000).endswith("…")


def test_an_object_without_text_is_quoted():
    """It is named by its type."""

    class OddError(Exception):
        def __str__(self):
            raise RuntimeError

    assert quoted(OddError()) == "OddError"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("http://ann:secret@h/x", "http://***@h/x"),
        ("http://token@h", "http://***@h"),
        ("ann:secret@h:1", "***@h:1"),
        ("endpoint=http://a:secret@h,x=y", "endpoint=http://***@h,x=y"),
        ("http://ann:my sec/ret?@h", "http://***@h"),
        ("http://h/x?mail=a@b", "http://***@b"),
        ("http://h:14268/api/traces?token=S3CRET", "http://h:14268/api/traces?token=***"),
        ("http://h/x?format=thrift&sig=S3CRET;k=S3", "http://h/x?format=***&sig=***;k=***"),
        ("https://h?S3CRET", "https://h?***"),
        ("http://h/a?t=S3=CR?ET", "http://h/a?t=***?***"),
        ("http://h/x#access_token=S3CRET", "http://h/x#access_token=***"),
        ("http://h/x;jsessionid=S3CRET", "http://h/x;jsessionid=***"),
        ("grpc://u:p@h:14250?key=S3", "grpc://***@h:14250?key=***"),
        ("collector:14268/api?token=S3CRET", "collector:14268/api?token=***"),
        ("http://h/x?empty=", "http://h/x?empty="),
        ("http://h/x", "http://h/x"),
        ("plain", "plain"),
        ("what? a; b", "what? a; b"),
    ],
)
def test_an_address_hides_its_secrets(written, shown):
    """Whether it is good or bad."""
    assert masked(written) == shown


@given(
    st.sampled_from(["http", "https", "grpc"]),
    st.text("abcDEF012-._~%+", min_size=1, max_size=8),
    st.sampled_from(["?", "#", "/x?", "/p;"]),
)
def test_no_value_of_a_query_is_shown(scheme, name, before):
    """In whichever part of the address a parameter stands, and whatever it is called."""
    secret = "S3CR3T!$'()*,/:@"
    shown = masked(f"{scheme}://collector:1{before}{name}={secret}&x={secret}")
    assert "S3CR3T" not in shown


def test_a_citation_fits_a_sentence():
    """In quotation marks, masked and bounded."""
    assert cited("http://u:p@h/?a=b\n") == "'http://***@h/?a=***'"
