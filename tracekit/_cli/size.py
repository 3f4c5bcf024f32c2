"""``tracekit size``: from services, requests and spans to rates, machines, disks and settings.

What was measured here is said to be, and a test measures it again; what belongs to other people's
programs is an assumption that an argument replaces.
"""

from __future__ import annotations

import argparse
import math
import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_PROGRAM = "tracekit size"
_MISUSED = 2
DAY_S = 86_400


class Input(NamedTuple):
    """One number that can be given as ``NAME=VALUE``."""

    default: float
    says: str


INPUTS = {
    "services": Input(10, "services"),
    "processes": Input(0, "processes of all services together (0: four a service)"),
    "nodes": Input(0, "nodes that they run on (0: one for ten processes)"),
    "rps": Input(1000, "requests a second of each service"),
    "spans": Input(20, "spans of one request in the service that serves it"),
    "sample": Input(0.01, "share of traces that is sampled, 0 to 1"),
    "keep": Input(1000, "spans a second that you want to store"),
    "days": Input(7, "days that they are kept"),
    "copies": Input(2, "copies of each index: the primary and its replicas"),
    "outage": Input(30, "seconds that the receiver may be away without a loss"),
    "bytes": Input(230, "bytes of a span on the wire (measured: three attributes)"),
    "held": Input(540, "bytes of a finished span in the queue (measured)"),
    "sampled_us": Input(11, "CPU of a sampled span, export included, in us (measured)"),
    "unsampled_us": Input(1.4, "CPU of a span that is not sampled, in us (measured)"),
    "agent": Input(20_000, "spans a second that one core of an agent takes (assumed)"),
    "collector": Input(15_000, "spans a second that one core of a collector takes (assumed)"),
    "elastic": Input(5_000, "spans a second that one core of Elasticsearch indexes (assumed)"),
    "stored": Input(500, "bytes of a span in an index (assumed)"),
}
"""The numbers of the calculation; all of them can be given."""
QUEUE = 10_000
BURST_BYTES = 65_536
DEFAULT_SOCKET_BYTES = 212_992
ALERT_FILL = 0.8


class Row(NamedTuple):
    """One line of the answer: what, how much, and how it comes about."""

    what: str
    figure: str
    why: str


def main(arguments: Sequence[str]) -> int:
    """Print the table for ``NAME=VALUE …``; return 0, or 2 when misused."""
    names = "\n".join(f"  {name:<13}{row.default:<8g}{row.says}" for name, row in INPUTS.items())
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Say how many spans there will be, and what they take.",
        epilog=f"numbers, and what they are unless you say something else:\n{names}\n\n"
        "'-' reads NAME=VALUE from standard input; '#' begins a comment there.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("numbers", metavar="NAME=VALUE", nargs="*", help="or '-'")
    given = parser.parse_args(arguments).numbers
    try:
        numbers = read(_words(given))
    except ValueError as error:
        parser.error(str(error))
    sys.stdout.write(as_table(rows(numbers)) + "\n")
    return 0


def _words(given: Iterable[str]) -> Iterator[str]:
    for word in given:
        if word == "-":
            for line in sys.stdin:
                yield from line.partition("#")[0].split()
        else:
            yield word


def read(words: Iterable[str]) -> dict[str, float]:
    """Return all numbers, those of ``words`` in the place of the defaults.

    Raises ``ValueError`` for a name that is none, or a value that is no number in its range.
    """
    numbers = {name: row.default for name, row in INPUTS.items()}
    for word in words:
        name, separator, written = word.partition("=")
        if not separator or name not in INPUTS:
            raise ValueError(f"{word[:80]!r}: not one of {', '.join(INPUTS)} as NAME=VALUE")
        try:
            value = float(written.replace("_", ""))
        except ValueError:
            raise ValueError(f"{name}={written[:80]!r} is not a number") from None
        free = name in {"processes", "nodes", "sample", "outage"}
        most = 1.0 if name == "sample" else 1e12
        if not (0 <= value <= most) or (value == 0 and not free):
            least = "0" if free else "more than 0"
            raise ValueError(f"{name}={written[:80]}: is to be {least}, and at most {most:g}")
        numbers[name] = value
    numbers["processes"] = numbers["processes"] or numbers["services"] * 4
    numbers["nodes"] = numbers["nodes"] or math.ceil(numbers["processes"] / 10)
    return numbers


def rows(n: dict[str, float]) -> list[Row]:
    """Return the lines of the answer to the numbers of ``read``."""
    made = n["services"] * n["rps"] * n["spans"]
    kept = made * n["sample"]
    return [*_load(n, made, kept), *_client(n, made, kept), *_behind(n, kept), *_advice(n, made)]


def _load(n: dict[str, float], made: float, kept: float) -> Iterator[Row]:
    yield Row("spans made", f"{made:,.0f}/s", "services x rps x spans")
    yield Row("spans sampled", f"{kept:,.0f}/s", f"x {n['sample']:g}")
    each = kept / n["processes"]
    yield Row("of one process", f"{each:,.1f}/s", f"{n['processes']:,.0f} processes")
    yield Row("of one node", f"{kept / n['nodes']:,.1f}/s", f"{n['nodes']:,.0f} nodes")
    yield Row(
        "network, all", f"{kept * n['bytes'] * 8 / 1e6:,.2f} Mbit/s", f"{n['bytes']:g} bytes a span"
    )


def _client(n: dict[str, float], made: float, kept: float) -> Iterator[Row]:
    cores = (kept * n["sampled_us"] + (made - kept) * n["unsampled_us"]) / 1e6
    yield Row(
        "CPU of the services",
        f"{cores:,.2f} cores",
        f"{cores / n['processes']:.2%} of a core in each process",
    )
    each = kept / n["processes"]
    holds = f"{QUEUE / each:,.0f} s" if each else "for ever"
    yield Row("queue lasts", holds, f"{QUEUE:,} spans (the default), receiver away")
    needed = max(QUEUE, math.ceil(each * n["outage"] / 1000) * 1000)
    yield Row(
        "queue_size",
        f"{needed}",
        f"for {n['outage']:g} s; {needed * n['held'] / 1e6:,.0f} MB if it is full",
    )
    burst = min(BURST_BYTES, each * n["bytes"])  # paced, and of one flush interval (1 s)
    at_once = 2 * burst * n["processes"] / n["nodes"]  # the kernel counts its own part, too
    fits = at_once <= DEFAULT_SOCKET_BYTES
    yield Row(
        "socket buffer of a node's agent",
        f"{max(at_once, DEFAULT_SOCKET_BYTES):,.0f} bytes",
        f"{burst:,.0f} bytes of each process at once; "
        + ("the default holds that" if fits else "raise net.core.rmem_max"),
    )


def _behind(n: dict[str, float], kept: float) -> Iterator[Row]:
    agents = kept / n["nodes"] / n["agent"]
    yield Row("agent on each node", f"{agents:,.3f} cores", f"{n['agent']:,.0f} spans/s a core")
    cores = kept / n["collector"]
    replicas = max(2, math.ceil(cores / 0.6 / 2))
    yield Row(
        "collectors",
        f"{replicas} x 2 cores",
        f"{cores:,.2f} cores of work, at most 60 % used, two for updates",
    )
    index = kept * n["copies"] / n["elastic"]
    yield Row("Elasticsearch", f"{index:,.2f} cores", f"{n['copies']:g} copies are written")
    day = kept * DAY_S * n["stored"] * n["copies"]
    yield Row("disk a day", _bytes(day), f"{n['stored']:g} bytes a span, {n['copies']:g} copies")
    yield Row(
        f"disk for {n['days']:g} days", _bytes(day * n["days"] * 1.25), "and a fifth of it free"
    )
    primary = day / n["copies"]
    shards = max(1, math.ceil(primary / 30e9))
    yield Row("shards a day", f"{shards}", "30 GB each at most")


def _advice(n: dict[str, float], made: float) -> Iterator[Row]:
    share = min(1.0, n["keep"] / made)
    if share == 1.0:
        kind, param, why = "const", "1", "all of it is within what you keep"
    elif made / n["spans"] * share < n["services"]:
        kind, param = "remote", _two_digits(share)
        why = "under one trace a second a service: adaptive, so that rare operations are seen"
    else:
        kind, param = "probabilistic", _two_digits(share)
        why = f"{n['keep']:,.0f} of {made:,.0f} spans/s, the same share everywhere"
    yield Row("sampler_type", kind, why)
    yield Row("sampler_param", param, f"Istio: randomSamplingPercentage {_two_digits(share * 100)}")
    each = made * n["sample"] / n["processes"]
    left = f"{QUEUE * (1 - ALERT_FILL) / each:,.0f} s before the first loss" if each else "never"
    yield Row("alert: queue filling", f"> {ALERT_FILL:g} for 2 min", left)
    yield Row("alert: spans dropped", "> 0 for 5 min", "any reason but no_exporter")


def _two_digits(number: float) -> str:
    return f"{float(f'{number:.2g}'):g}"


def _bytes(number: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if number < 1000:
            return f"{number:,.1f} {unit}"
        number /= 1000
    return f"{number:,.1f} PB"


def as_table(table: Iterable[Row]) -> str:
    """Return the rows as text in three columns."""
    lines = [Row("WHAT", "HOW MUCH", "WHY"), *table]
    what, figure = (max(len(line[column]) for line in lines) for column in (0, 1))
    return "\n".join(f"{row.what:<{what}}  {row.figure:>{figure}}  {row.why}" for row in lines)
