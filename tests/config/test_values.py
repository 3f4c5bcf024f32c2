"""From text to values: durations, booleans, numbers, addresses, tags, and what is shown of URLs."""

from __future__ import annotations

import datetime as dt
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit._config import values as v

UNITS_S = {"h": 3600, "m": 60, "s": 1, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


@given(st.lists(st.tuples(st.integers(0, 500), st.sampled_from(list(UNITS_S))), min_size=1))
def test_a_go_duration_sums_its_parts(parts):
    """In any order and repetition, as ``time.ParseDuration`` adds them."""
    written = "".join(f"{amount}{unit}" for amount, unit in parts)
    expected = sum(amount * UNITS_S[unit] for amount, unit in parts)
    assert v.milliseconds(written) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("written", "expected_s"),
    [("1s", 1), ("500ms", 0.5), ("1m30s", 90), ("1.5h", 5400), (".5s", 0.5), ("1000", 1), ("0", 0)],
)
def test_plain_numbers_are_milliseconds(written, expected_s):
    """What Java, Node, C++ and C# write means what it meant; units are those that Go writes."""
    assert v.milliseconds(written) == expected_s


@pytest.mark.parametrize(
    "written", ["", "s", "1 s", "1d", "1s1", "1,5s", "1e", "--1s", "\u0661s", "inf"]
)
def test_what_go_refuses_is_no_duration(written):
    """And neither is it a number."""
    with pytest.raises(ValueError, match="is no duration"):
        v.milliseconds(written)


@given(st.timedeltas(dt.timedelta(0), dt.timedelta(days=1000)))
def test_a_programs_number_is_seconds(duration):
    """Settings whose name ends in ``_s`` take seconds."""
    assert v.seconds()(duration.total_seconds()) == duration.total_seconds()


@pytest.mark.parametrize("written", ["1", "t", "T", "TRUE", "true", "True", " tRUE "])
def test_true_as_any_client_wrote_it(written):
    """Go's ParseBool, and Java's and C++'s disregard of case."""
    assert v.boolean(written) is True
    assert v.negated(written) is False


@pytest.mark.parametrize("written", ["0", "f", "F", "FALSE", "false", "False"])
def test_false_as_any_client_wrote_it(written):
    """Node read "false" as true; that is not kept."""
    assert v.boolean(written) is False


@pytest.mark.parametrize("written", ["yes", "on", "2", "", "truee", "none", 2, None, 1.0])
def test_anything_else_is_no_boolean(written):
    """A guess could switch tracing off."""
    with pytest.raises(ValueError, match="neither true nor false"):
        v.boolean(written)


@given(st.integers())
def test_integers_keep_their_range(number):
    """From text, from a float that is whole, from an int."""
    check = v.integer(1, 65535)
    if 1 <= number <= 65535:
        assert check(str(number)) == check(float(number)) == check(number) == number
    else:
        with pytest.raises(ValueError, match="is not"):
            check(str(number))


@pytest.mark.parametrize(
    "written", ["1_000", "0x10", "1e3", "\u0661", "", "1.5", True, 1.5, None, "9" * 5000]
)
def test_only_decimal_digits_are_an_integer(written):
    """Python's int() would take some of these; no client did."""
    with pytest.raises(ValueError, match="is not"):
        v.integer(0)(written)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_round_trip(number):
    """Every finite float that Python prints is read back."""
    assert v.number(repr(number)) == number


@pytest.mark.parametrize(
    "written", ["nan", "inf", "-Infinity", "1e999", math.inf, math.nan, "0x1p3"]
)
def test_what_is_not_finite_is_no_number(written):
    """A probability of NaN compares with nothing."""
    with pytest.raises(ValueError, match="number"):
        v.number(written)


@pytest.mark.parametrize(
    ("written", "expected"),
    [("localhost", "localhost"), ("10.0.0.1", "10.0.0.1"), ("[fe80::1%eth0]", "fe80::1%eth0"),
     ("agent.ns.svc.", "agent.ns.svc."), ("my_agent", "my_agent")],
)  # fmt: skip
def test_hosts_are_names_or_addresses(written, expected):
    """As Docker, Kubernetes and the downward API write them."""
    assert v.host(written) == expected


@pytest.mark.parametrize(
    "written", ["a b", "a:1", "http://a", "-a", "a/b", "a@b", "a..b c", "[x]:1"]
)
def test_what_is_no_host_is_refused(written):
    """Above all ``host:port`` in a variable for the host."""
    with pytest.raises(ValueError, match="is not a host"):
        v.host(written)


@pytest.mark.parametrize("scheme", ["tcp", "udp", "sctp"])
def test_a_service_link_is_called_one(scheme):
    """Whoever reads the message knows why the variable exists."""
    with pytest.raises(ValueError, match="Kubernetes service link"):
        v.port(f"{scheme}://10.0.0.1:5775")


TOKENS = st.text(
    st.characters(codec="utf-8", exclude_characters=",=${}", categories=["L", "N", "P"])
)


@given(st.dictionaries(TOKENS.filter(bool), TOKENS))
def test_tags_round_trip(tags):
    """Whatever names and values without the separators, with blanks around them."""
    written = " , ".join(f" {key} = {value} " for key, value in tags.items())
    assert v.tags(written, {}) == v.Several({"tags": tags})


@pytest.mark.parametrize(
    ("written", "environ", "expected"),
    [
        ("${A:d}", {}, "d"),
        ("${A:d}", {"A": ""}, "d"),
        ("${A:d}", {"A": "v"}, "v"),
        ("${A}", {"A": "v"}, "v"),
        ("${A}", {}, ""),
        ("${A:http://d:1}", {}, "http://d:1"),
        ("x${A:d}", {"A": "v"}, "x${A:d}"),
        ("${A:d}x", {"A": "v"}, "${A:d}x"),
    ],
)
def test_a_tag_may_name_a_variable(written, environ, expected):
    """Only when it is all ``${VAR:default}``, as in Go."""
    assert v.tags(f"k={written}", environ).values == {"tags": {"k": expected}}


@given(st.text(st.characters(exclude_categories=())))
def test_clean_text_can_be_encoded(written):
    """Lone surrogates, which stand for bytes that are no UTF-8, are replaced."""
    v.clean(written).encode("utf-8")
