"""Invariant: any text or bytes of any size gives a Remote or None; no decoder ever raises.

And what was decoded survives: encoding it in the same format and decoding that gives the same
ids and decision. Run ``python tests/fuzz/fuzz_headers.py --inputs 10000000`` (or ``make fuzz``);
an input that breaks the invariant is printed with the seed that leads to it.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback
from itertools import starmap
from typing import NamedTuple

from opentelemetry.context import Context

from tracekit.mesh import forward_headers
from tracekit.propagation import Propagator, Remote, decode, encode
from tracekit.propagation._binary import decode_binary
from tracekit.propagation._counters import Counters
from tracekit.propagation._extracted import enter

TRACE, SPAN = "80f198ee56343ba864fe8b2a57d3eff7", "e457b5a2e4d86bd1"
SEEDS = [
    ("jaeger", "uber-trace-id", f"{TRACE}:{SPAN}:0:1"),
    ("jaeger", "uber-trace-id", "1%3A2%3A0%3a3"),
    ("jaeger", "jaeger-baggage", "k1=v1, k2 = v2%20"),
    ("jaeger", "jaeger-debug-id", "some-id"),
    ("jaeger", "uberctx-key", "a%F0%9F%91%BEb+c"),
    ("b3", "x-b3-traceid", TRACE),
    ("b3", "x-b3-spanid", SPAN),
    ("b3", "x-b3-parentspanid", "05e3ac9a4f6e3b90"),
    ("b3", "x-b3-sampled", "1"),
    ("b3", "x-b3-flags", "1"),
    ("b3single", "b3", f"{TRACE}-{SPAN}-d-05e3ac9a4f6e3b90"),
    ("b3single", "b3", "0"),
    ("w3c", "traceparent", f"00-{TRACE}-{SPAN}-03"),
    ("w3c", "traceparent", f"cc-{TRACE}-{SPAN}-01-later"),
    ("w3c", "tracestate", "foo=1,t61rcwkgmze@vendor=x y, \t bar=2"),
    ("w3c", "baggage", "userId=alice,serverNode=DF%2028;p=1,x=%zz"),
    ("w3c", "x-request-id", "b0b7ba0a-98e5-9a5c-8e5f-7f5b5f5a2f3c"),
]
ALPHABET = "0123456789abcdefABCDEFxX:-,;=%+ \t\r\n\0_@é\u0130\u0660\U0001f47e\udc80"
FORMATS = ("jaeger", "b3", "b3single", "w3c", "tracecontext", "baggage")
PROPAGATOR = Propagator(("jaeger", "b3", "w3c"), counters=Counters(lambda: 0.0))


def mutate(rng: random.Random, text: str) -> str:
    """Return ``text`` with a few edits of the kinds that break parsers."""
    for _ in range(rng.choice((0, 1, 1, 2, 5))):
        at = rng.randint(0, len(text))
        match rng.randrange(7):
            case 0:
                text = text[:at] + rng.choice(ALPHABET) + text[at:]
            case 1:
                text = text[:at] + text[at + rng.randint(1, 4) :]
            case 2:
                text = text[:at] + rng.choice(ALPHABET) + text[at + 1 :]
            case 3:
                text = text[:at] + rng.choice(SEEDS)[2] + text[at:]
            case 4:
                text = text.upper() if rng.random() < 0.5 else text[::-1]
            case 5 if rng.random() < 0.01:
                text = text[:at] + rng.choice(ALPHABET) * rng.choice((4_000, 9_000)) + text[at:]
            case _:
                text = text.replace(rng.choice(ALPHABET), rng.choice(ALPHABET))
    return text


class Metadatum(NamedTuple):
    """What gRPC makes of a pair that it received."""

    key: object
    value: object


def headers_of(rng: random.Random) -> dict[str, object]:
    """Return a carrier: mostly near-valid headers, in odd spellings and of odd types."""
    family = rng.choice(SEEDS)[0]
    made: dict[str, object] = {}
    for format_, usual, value in SEEDS:
        if format_ != family and rng.random() < 0.9:
            continue
        name = usual
        if rng.random() < 0.15:
            name = rng.choice((name.upper(), name.title(), mutate(rng, name)))
        kind = rng.random()
        text = mutate(rng, value) if rng.random() < 0.6 else value
        if kind < 0.02:
            made[name] = text.encode("utf-8", "surrogatepass")
        elif kind < 0.04:
            made[name] = [text, value]
        elif kind < 0.05:
            made[name] = rng.choice((None, 7, 1.5, b"\xff\xfe", {"a": 1}))
        else:
            made[name] = text
    return made


def check(rng: random.Random, headers: dict[str, object]) -> None:
    """Decode ``headers`` in one of the ways there are; raise when the invariant breaks."""
    way = rng.randrange(len(FORMATS) + 2)
    if way < len(FORMATS):
        check_codec(FORMATS[way], headers)
    elif way == len(FORMATS):
        PROPAGATOR.inject({}, PROPAGATOR.extract(headers))
        decode_binary(rng.randbytes(rng.choice((0, 32, 37, 41, 60))))
    else:
        PROPAGATOR.extract_pairs(headers.items())
        enter(PROPAGATOR.read_metadata(tuple(starmap(Metadatum, headers.items()))), Context())
        environ = {"HTTP_" + name.upper().replace("-", "_"): headers[name] for name in headers}
        PROPAGATOR.extract_environ(environ)
        if not all(name and value for name, value in forward_headers(headers).items()):
            raise AssertionError("forwarded something empty")


def check_codec(format_: str, headers: dict[str, object]) -> None:
    """Decode, encode, decode again: nothing raises, ids and decision stay."""
    remote = decode(format_, headers)
    if remote is not None:
        if type(remote) is not Remote:
            raise AssertionError(f"{format_}: {remote!r}")
        again = decode(format_, encode(format_, remote))
        if remote.has_ids and (
            again is None
            or (again.trace_id, again.span_id) != (remote.trace_id, remote.span_id)
            or again.decision is not remote.decision
        ):
            raise AssertionError(f"{format_}: {remote!r} came back as {again!r}")


def main(arguments: list[str] | None = None) -> int:
    """Run; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    started = time.monotonic()
    for number in range(options.inputs):
        if number % 1000 == 0:  # so that any input can be had again without those before it
            rng = random.Random(options.seed * 1_000_000_007 + number)
        headers = headers_of(rng)
        try:
            check(rng, headers)
        except Exception:
            traceback.print_exc()
            print(f"seed {options.seed}, input {number}: {headers!r}")
            return 1
    spent = time.monotonic() - started
    print(f"{options.inputs} inputs, no exception, {spent:.0f} s, seed {options.seed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
