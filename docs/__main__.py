"""Print the reference pages that are made from the project's tables: ``python -m docs``.

A page is a function from nothing to Markdown; a test compares each with the file.
"""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import TYPE_CHECKING

from tracekit import metrics
from tracekit._calls import metrics as rpc_metrics
from tracekit._cli.migrate import table
from tracekit._config import variables
from tracekit._config.schema import SETTINGS, Setting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from tracekit._config.variables.row import Row
    from tracekit.metrics import Instrument

REFERENCE = Path(__file__).parent / "reference"


_ENVIRONMENT = """\
# Variables and settings

Printed from the environment table by `make docs`.

Keyword arguments of `init` win over variables, those over the file that `{file}` names,
that over the defaults. Jaeger's variables win over OpenTelemetry's; where two variables feed one
setting, the upper row wins. An empty variable counts as unset. A bad value costs one log line and
is replaced; with `strict=True` all of them are raised together. Durations are Go's (`500ms`, `1s`,
`1m30s`) or plain milliseconds; booleans are `1 t true` and `0 f false` in any case. `tracekit env`
shows what is in force and why.

## Jaeger's and tracekit's variables

{own}

## OpenTelemetry's variables

{otel}

## Settings

The names that `init`, a configuration file and `Settings.flat()` use. Times are seconds. In a file
the settings of one part may stand in a section of its name (`sampler:`), by their names there.

{settings}
"""


def environment() -> str:
    """Return the page about variables and settings."""
    otel = [row for row in variables.ROWS if row.known_to == "OpenTelemetry"]
    return _ENVIRONMENT.format(
        file=variables.CONFIG_FILE,
        own="\n".join(_variables(row for row in variables.ROWS if row not in otel)),
        otel="\n".join(_variables(otel)),
        settings="\n".join(_settings(SETTINGS.values())),
    )


def _variables(rows: Iterable[Row]) -> Iterator[str]:
    yield "| variable | setting | what it says | example | known to |"
    yield "|---|---|---|---|---|"
    for row in rows:
        receiver = {"jaeger": " Only with `http`.", "otlp": " Only with OTLP."}.get(row.wire, "")
        said = row.help if row.instead or row.setting == "endpoint" else row.help + receiver
        cells = (f"`{row.name}`", f"`{row.setting}`", said, f"`{row.example}`", row.known_to)
        yield _line(cells)


def _settings(settings: Iterable[Setting]) -> Iterator[str]:
    yield "| setting | in a section | default | what it says |"
    yield "|---|---|---|---|"
    for row in settings:
        place = f"`{row.part}: {row.attribute}`" if row.part else ""
        yield _line((f"`{row.name}`", place, _default(row.default), row.help))


def _default(value: object) -> str:
    if value is None or value == {}:
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`{','.join(value)}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


_METRICS = """\
# Metrics

Printed from the table of instruments by `make docs`. How to publish and watch them:
[Alerts and dashboard](../how-to/alerts-and-dashboard.md).

All figures are of one process and start at 0 in a forked child. `stats` is what `tracekit.stats()`
returns. Prometheus appends `_total` to counters; on OpenTelemetry's meters the names have dots, as
given below each, and a collector that exports them to Prometheus makes the same series of them.

## Jaeger's clients' metrics

Names and labels are those of the Go client with its Prometheus factory.

{jaeger}

What those clients had and tracekit has not, because there is nothing to count:
`jaeger_tracer_baggage_*` (baggage is not restricted), `jaeger_tracer_throttled_debug_spans_total`
and `jaeger_tracer_throttler_updates_total` (debug spans are not throttled). `sampled="delayed"`
does not occur: a decision is never put off. `finished_spans` has no `sampled="n"`: an unsampled
span costs too little to notice its end, and every started one is counted.

## tracekit's own metrics

{own}

Reasons of `dropped`: `queue_full`, `shutdown` and `no_exporter` are what Jaeger's clients call
*dropped*, the others (`too_large`, `encode_failed`, `send_failed`, `rejected`) are what they call
*err*.

## Further destinations

Published as soon as `add_exporter` (or `TRACEKIT_ALSO`) has added one. The figures above are those
of the first.

{added}

## RPC metrics

Published with `JAEGER_RPC_METRICS=true`. Server calls of the Flask, WSGI and gRPC edges, sampled or
not, when they have ended: a stream after its last piece, with its final status. What an edge
excludes is not counted. `component` is always `jaeger`.

{rpc}

An endpoint is the operation's name with each byte outside `[a-zA-Z0-9./_-]` replaced by `-`:
`GET /users/<int:id>` is `GET-/users/-int-id-`. The first {endpoints} operations have a name of
their own, all later ones share `{other}`. Buckets of the latency end at {buckets} seconds.
`error` is `true` for an exception, a 5xx and the gRPC codes that are the server's fault. In
OpenMetrics format each bucket names the trace of its latest sampled call.

On OpenTelemetry's meters the latency goes by `http.server.request.duration` and
`rpc.server.call.duration` (seconds), with the attributes and buckets of the semantic conventions;
both are recorded in the call's context, so the SDK's exemplars lead to its trace.

## OpenTelemetry's names for the same

Only on OpenTelemetry's meters; names and units of the semantic conventions for SDK
self-observability (status: development). The processor is `tracekit.reporting.Reporter`; all that
happens after a span has left its queue is the exporter's. An unset `error.type` means success.

{sdk}

`otel.sdk.exporter.operation.duration` (histogram, s) is recorded for each attempt to send; its
`error.type` is `retry`, `too_large` or `failed`.
"""


def instruments() -> str:
    """Return the page about metrics."""
    return _METRICS.format(
        jaeger="\n".join(_instruments(metrics.JAEGER)),
        own="\n".join(_instruments(metrics.OWN)),
        added="\n".join(_instruments(metrics.ADDED)),
        rpc="\n".join(_instruments(metrics.RPC)),
        sdk="\n".join(_instruments(metrics.SDK, dotted=True)),
        endpoints=rpc_metrics.MAX_ENDPOINTS,
        other=rpc_metrics.OTHER,
        buckets=", ".join(f"{bound:g}" for bound in rpc_metrics.BUCKETS_S),
    )


def _instruments(table: Iterable[Instrument], *, dotted: bool = False) -> Iterator[str]:
    yield "| name | kind | unit | labels | what it says | read from |"
    yield "|---|---|---|---|---|---|"
    for row in table:
        name = f"`{row.name}`" if dotted else f"`{row.prometheus}`<br>`{row.name}`"
        labels = ", ".join(f"`{label}`" for label in row.labels)
        unit = f"`{row.unit}`" if row.unit else ""
        yield _line((name, row.kind, unit, labels, row.help, row.figure))


_MIGRATION = """\
# What takes the place of what

Printed from the rows of `tracekit migrate` by `make docs`. How to go about it:
[Migrate](../how-to/migrate.md).

## Libraries

By how many programs were found to import them. A library that *stays* runs on tracekit's tracer
as it is. The last column names the program in `tests/libraries/programs.py`, run with the retired
library and with tracekit to the same trees (`make test-libraries`), or the tests.

{libraries}

## opentracing_instrumentation, name by name

It wants Tornado below 6, which cannot be installed from Python 3.12 on: there, what stands behind
*or* and *better* takes its place. On 3.10 and 3.11 all of it runs, `install_all_patches` included,
if the program begins with `import collections, collections.abc` and
`collections.MutableMapping = collections.abc.MutableMapping`.

{instrumentation}

## OpenTelemetry's packages

{opentelemetry}

Their arguments:

{options}

## Names that have another place, or none

All other public names of jaeger_client 4.8, Flask-OpenTracing 2 and grpcio-opentracing 1.1 are in
`tracekit.jaeger_client`, `tracekit.flask` and `tracekit.grpc.opentracing`, in modules of the same
names.

{names}
"""


def migration() -> str:
    """Return the page about retired libraries."""
    groups: dict[str, list[str]] = {}
    for row in table.NAMES:
        groups.setdefault(row.old.partition(".")[0], []).append(_line((f"`{row.old}`", row.new)))
    head = ["| you import | you write |", "|---|---|"]
    return _MIGRATION.format(
        libraries="\n".join(_libraries()),
        instrumentation="\n".join(head + groups["opentracing_instrumentation"]),
        opentelemetry="\n".join(head + groups["opentelemetry"]),
        options="\n".join(_options()),
        names="\n".join(
            head + groups["jaeger_client"] + groups["grpc_opentracing"] + groups["opentracing"]
        ),
    )


def _libraries() -> Iterator[str]:
    yield "| you import | you install | and write | tried by |"
    yield "|---|---|---|---|"
    for row in table.LIBRARIES:
        install = " ".join(f"`{it}`" for it in row.install.split())
        yield _line((f"`{row.old}`", install, row.new, f"`{row.tried}`"))


def _options() -> Iterator[str]:
    yield "| of | argument | you write |"
    yield "|---|---|---|"
    for (called, keyword), new in table.OPTIONS.items():
        yield _line((f"`{called}`", f"`{keyword}=`", new))


PAGES: Mapping[str, Callable[[], str]] = {
    "environment.md": environment,
    "metrics.md": instruments,
    "migration.md": migration,
}


CHANGELOG_D = Path(__file__).parent / "changelog.d"
_CHANGELOG = """\
# Changelog

Made by `make docs` from the fragments in `changelog.d/`, one for each subject. How versions are
counted, and how long what is deprecated stays: [Upgrade](upgrade.md).

## 0.1.0
"""


def changelog() -> str:
    """Return the changelog: a version's fragments, each below its subject."""
    parts = [_CHANGELOG]
    for fragment in sorted(CHANGELOG_D.glob("*.md")):
        title = fragment.stem.replace("-", " ").capitalize()
        parts.append(f"### {title}\n\n{fragment.read_text(encoding='utf-8').strip()}\n")
    return "\n".join(parts)


EXPLANATION = Path(__file__).parent / "explanation"
RATIONALE = EXPLANATION / "rationale.md"


def rationale() -> str:
    """Return the page that lists the questions, below what each package's page is about."""
    head = RATIONALE.read_text(encoding="utf-8").partition("\n## ")[0]
    return "\n".join([head, *(line for name in _pages_of(head) for line in _questions(name))])


def _pages_of(head: str) -> list[str]:
    """Return the packages' pages, in the order in which the page's first paragraph names them."""
    return re.findall(r"\((rationale-\w+\.md)\)", head)


def _questions(name: str) -> Iterator[str]:
    title, said, rest = (EXPLANATION / name).read_text(encoding="utf-8").split("\n\n", 2)
    yield f"## {title.removeprefix('# Rationale: ')}\n\n{said}\n"
    for question in re.findall(r"^## (.*)$", rest, re.MULTILINE):
        anchor = re.sub(r"[^\w\- ]", "", question.lower()).replace(" ", "-")
        yield f"- [{question}]({name}#{anchor})"
    yield ""


ARCHITECTURE = EXPLANATION / "architecture.md"
LAYERS = Path(__file__).parents[1] / "tests" / "test_layers.py"


def architecture() -> str:
    """Return the page with the floors that the layer test holds."""
    picture = runpy.run_path(str(LAYERS))["picture"]()
    page = ARCHITECTURE.read_text(encoding="utf-8")
    return re.sub(r"(?<=```text\n).*?(?=```)", lambda _: picture, page, count=1, flags=re.DOTALL)


def diagrams() -> dict[str, str]:
    """Return the pictures by the names of their files below ``docs``."""
    drawn = runpy.run_path(str(Path(__file__).with_name("_diagrams.py")))
    return {name: drawn["svg"](*table) for name, table in drawn["DIAGRAMS"].items()}


def main() -> None:
    """Write every page."""
    for name, picture in diagrams().items():
        (Path(__file__).parent / name).write_text(picture, encoding="utf-8")
    ARCHITECTURE.write_text(architecture(), encoding="utf-8")
    RATIONALE.write_text(rationale(), encoding="utf-8")
    (Path(__file__).parent / "changelog.md").write_text(changelog(), encoding="utf-8")
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
