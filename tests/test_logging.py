"""Log records know their trace, whatever the program does with logging."""

from __future__ import annotations

import io
import json
import logging
import logging.handlers
import queue
import sys
from datetime import datetime, timezone

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace

import tracekit.logging
import tracekit.testing
from tracekit.logging import JsonFormatter, TraceContextFilter
from tracekit.tracing._late import renumber

FORMATS = {
    "%": "%(message)s|%(trace_id)s|%(span_id)s|%(trace_sampled)s|%(service)s",
    "{": "{message}|{trace_id}|{span_id}|{trace_sampled}|{service}",
    "$": "${message}|${trace_id}|${span_id}|${trace_sampled}|${service}",
}


@pytest.fixture
def tracing():
    handle = tracekit.testing.tracing(service_name="shop")
    yield handle
    handle.shutdown()


@pytest.fixture
def installed(tracing):
    undo = tracekit.logging.install(tracing=tracing)
    yield
    undo()


@pytest.fixture
def log():
    """Return a logger of its own whose records land in ``log.records``."""
    logger = logging.Logger("test")  # noqa: LOG001 (unknown to the rest of the program)
    logger.records = []
    handler = logging.Handler()
    handler.emit = logger.records.append
    logger.addHandler(handler)
    return logger


def ids(span):
    context = span.get_span_context()
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"


def fields(record):
    return record.trace_id, record.span_id, record.trace_sampled, record.service


def test_records_know_their_span(tracing, installed, log):
    """Inside a span a record has its ids as Jaeger shows them; outside it has none."""
    with tracing.tracer("t").start_as_current_span("work") as span:
        log.info("in")
    log.info("out")
    inside, outside = log.records
    assert fields(inside) == (*ids(span), True, "shop")
    assert fields(outside) == ("", "", False, "shop")


def test_an_unsampled_span_has_ids_too(installed, log):
    """The ids bind logs of one request together even where no trace was kept."""
    tracing = tracekit.testing.tracing(sampler_param=0)
    with tracing.tracer("t").start_as_current_span("work") as span:
        log.info("in")
    assert fields(log.records[0])[:3] == (*ids(span), False)


def test_ids_are_those_of_the_moment(tracing, installed, log):
    """Spans in turns, and one that is given other ids, are named as they are when it is logged."""
    first, second = (tracing.tracer("t").start_span(name) for name in ("first", "second"))
    wanted = []
    for span in (first, second, first, first, second):
        with trace.use_span(span):
            log.info("in turns")
            wanted.append((*ids(span), True, "shop"))
    with trace.use_span(first):
        renumber(first, 7, 9)
        log.info("renumbered")
    wanted.append((f"{7:032x}", f"{9:016x}", True, "shop"))
    assert [fields(record) for record in log.records] == wanted


@pytest.mark.parametrize("style", FORMATS)
def test_formats_may_name_fields_untraced(style, log):
    """Before init, and without it, no format string raises."""
    undo = tracekit.logging.install()
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter(FORMATS[style], style=style))
    log.addHandler(handler)
    log.info("said")
    undo()
    said, trace_id, span_id, sampled, _ = stream.getvalue().strip().split("|")
    assert (said, trace_id, span_id, sampled) == ("said", "", "", "False")


class Record(logging.LogRecord):
    """A record class of somebody's own."""

    own = "yes"


@pytest.mark.parametrize("when", ["before", "after"])
def test_any_record_factory_may_be_set(tracing, log, when):
    """A factory of the program's own, set before or after, keeps working and loses no field."""
    before = logging.getLogRecordFactory()
    try:
        if when == "before":
            logging.setLogRecordFactory(Record)
        undo = tracekit.logging.install(tracing=tracing)
        if when == "after":
            logging.setLogRecordFactory(Record)
        log.info("said")
        undo()
    finally:
        logging.setLogRecordFactory(before)
    assert log.records[0].own == "yes"
    assert log.records[0].service == "shop"


def test_extra_and_fields_both_stay(tracing, installed, log):
    """Own names in ``extra`` arrive; a span's neither raise nor replace the truth."""
    with tracing.tracer("t").start_as_current_span("work") as span:
        log.info("said", extra={"customer": 392, "trace_id": "mine", "service": "theirs"})
    log.info("said", extra={"trace_id": "mine"})
    inside, outside = log.records
    assert fields(inside) == (*ids(span), True, "theirs")
    assert (inside.customer, inside.extra_trace_id) == (392, "mine")
    assert outside.trace_id == "mine"


@pytest.mark.parametrize("value", ["billing", "", None, 0, ["a", "b"]])
def test_a_service_of_the_programs_own_stays(tracing, installed, log, value):
    """``service`` is a common field: whoever says it, in or out of a span, means what they say."""
    with tracing.tracer("t").start_as_current_span("work"):
        log.info("in", extra={"service": value})
    log.info("out", extra={"service": value})
    event = tracekit.logging.structlog_processor(None, "info", {"service": value})
    assert [record.service for record in log.records] == [value, value]
    assert event["service"] == value
    for record in log.records:
        assert not hasattr(record, "extra_service")
        assert line_of(record, tracing=tracing).get("service", "") == value


def test_others_may_name_the_service(tracing, installed, log):
    """A factory's stays, since the fields come after it; a filter has the last word."""

    class Named(logging.LogRecord):
        service = "by its class"

        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self.service = "by the factory"

    def rename(record):
        record.service = "by the filter"
        return True

    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(Named)
    try:
        log.info("said")
    finally:
        logging.setLogRecordFactory(before)
    log.addFilter(rename)
    log.info("said")
    assert [record.service for record in log.records] == ["by the factory", "by the filter"]


def test_constant_fields_of_a_formatter_win(tracing, installed, log):
    """``defaults`` are what the program wrote down; a record's own stays beside it."""
    log.info("said")
    log.info("said", extra={"service": "mine"})
    plain, own = (
        line_of(record, tracing=tracing, defaults={"service": "billing"}) for record in log.records
    )
    assert (plain["service"], "extra_service" in plain) == ("billing", False)
    assert (own["service"], own["extra_service"]) == ("billing", "mine")


@pytest.mark.parametrize("named", [None, "till"])
def test_no_name_is_invented(log, named):
    """Where nobody named the service, before ``init`` or after, a record names none either."""
    handle = tracekit.init(named, environ={}, set_global=False, disabled=True)
    for tracing in (None, handle):
        undo = tracekit.logging.install(tracing=tracing)
        log.info("said")
        undo()
        record = log.records.pop()
        wanted = named if named and tracing else ""
        assert record.service == wanted
        assert line_of(record).get("service", "") == wanted


def test_a_second_stamp_harms_nothing(tracing, log):
    """A filter over an installed stamp, or a second stamp, moves nothing aside."""
    stamp = tracekit.logging._Stamp(tracing)
    with tracing.tracer("t").start_as_current_span("work"):
        log.info("said")
        stamp.put(vars(log.records[0]))
        stamp.put(vars(log.records[0]))
    assert not [name for name in vars(log.records[0]) if name.startswith("extra_")]


def test_refused_extra_is_refused_still(installed, log):
    """What raises KeyError without us does so with us."""
    with pytest.raises(KeyError, match="message"):
        log.info("said", extra={"message": "x"})  # noqa: G101 (on purpose)


def test_anothers_record_keeps_its_ids(tracing, installed, log):
    """A record that was pickled there and is handled here names the span it was made in."""
    with tracing.tracer("t").start_as_current_span("there"):
        log.info("said")
    sent = dict(vars(log.records.pop()))
    with tracing.tracer("t").start_as_current_span("here"):
        log.handle(logging.makeLogRecord(sent))
        log.handle(logging.makeLogRecord({"msg": "bare", "levelno": 30}))
    received, bare = log.records
    assert received.trace_id == sent["trace_id"]
    assert bare.service == "shop"


def test_a_queue_does_not_lose_the_span(tracing, installed, log):
    """A record handled by a listener on another thread has the ids of where it was made."""
    waiting = queue.SimpleQueue()
    log.addHandler(logging.handlers.QueueHandler(waiting))
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    listener = logging.handlers.QueueListener(waiting, handler)
    listener.start()
    with tracing.tracer("t").start_as_current_span("work") as span:
        log.info("said")
    listener.stop()
    assert json.loads(stream.getvalue())["trace_id"] == ids(span)[0]


def test_the_caller_is_found_as_before(installed, log):
    """File, line and function of a record are those of the logging call."""
    log.info("said")
    assert (log.records[0].funcName, log.records[0].filename) == (
        "test_the_caller_is_found_as_before",
        "test_logging.py",
    )


def test_the_undo_leaves_nothing(tracing, log):
    """After the undo records are bare; a second install and its undo change nothing."""
    before = logging.Logger.makeRecord, logging.Logger.handle
    undo = tracekit.logging.install(tracing=tracing)
    tracekit.logging.install(tracing=tracing)()
    log.info("said")
    undo()
    undo()
    log.info("said")
    assert (logging.Logger.makeRecord, logging.Logger.handle) == before
    assert [hasattr(record, "trace_id") for record in log.records] == [True, False]


def test_a_filter_serves_one_handler(tracing, log):
    """Without install a filter puts the fields on what passes it, and filters by name as usual."""
    log.handlers[0].addFilter(TraceContextFilter(tracing=tracing))
    with tracing.tracer("t").start_as_current_span("work") as span:
        log.info("said")
    assert fields(log.records[0]) == (*ids(span), True, "shop")
    assert not TraceContextFilter("other").filter(log.records[0])


def test_a_structlog_event_gets_the_fields(tracing):
    """The processor adds what install adds to records."""
    said = []

    def drop(_logger, _method, event):
        said.append(event)
        raise structlog.DropEvent

    logger = structlog.wrap_logger(
        None, processors=[tracekit.logging.structlog_processor, drop], context_class=dict
    )
    with tracing.tracer("t").start_as_current_span("work") as span:
        logger.info("said", customer=392)
    assert (said[0]["trace_id"], said[0]["span_id"]) == ids(span)
    assert (said[0]["event"], said[0]["customer"]) == ("said", 392)


class Sullen(Exception):  # noqa: N818 (it cannot even say that)
    """Neither printed nor compared without an error."""

    def __str__(self, *_):
        raise RuntimeError("no comment")

    __eq__ = __str__
    __hash__ = None


class SlottedRecord:
    """What a record factory of the program's own may make."""

    __slots__ = ("levelname", "levelno", "msg", "name")

    def __init__(self, name, level, _path, _line, msg, *_args, **_options):
        self.name, self.levelno, self.msg, self.levelname = name, level, msg, "INFO"


@pytest.fixture
def with_events(tracing):
    undo = tracekit.logging.install(tracing=tracing, span_events="INFO")
    yield
    undo()


@pytest.mark.usefixtures("with_events")
def test_unprintable_values_are_the_handlers(tracing, log):
    """A message, an exception or an extra of that kind is the handler's to deal with."""
    with tracing.tracer("t").start_as_current_span("s"):
        log.info(Sullen())
        log.error("failed", exc_info=Sullen())
        log.info("tagged", extra={"service": Sullen(), "trace_id": Sullen()})
    events = tracing.sink.take().events
    assert [event.attributes["message"] for event in events] == ["Sullen", "failed", "tagged"]
    assert events[1].attributes["exception.type"] == "Sullen"
    assert isinstance(log.records[2].service, Sullen)
    assert isinstance(log.records[2].extra_trace_id, Sullen)


@pytest.mark.usefixtures("with_events")
def test_records_of_an_odd_kind_pass(tracing, log, monkeypatch):
    """A factory may make records without a dictionary, a span may be a stranger's without ids."""
    with trace.use_span(Stranger()):
        log.info("first")
    monkeypatch.setattr(logging, "_logRecordFactory", logging.getLogRecordFactory())
    logging.setLogRecordFactory(SlottedRecord)
    with tracing.tracer("t").start_as_current_span("s"):
        log.info("second")
    assert [record.msg for record in log.records] == ["first", "second"]


@pytest.mark.usefixtures("installed")
def test_a_strangers_span_costs_no_line(log):
    """What says no ids is as none, in a format that names the fields and for structlog."""
    event = {}
    with trace.use_span(Stranger()):
        log.info("said")
        tracekit.logging.structlog_processor(None, "", event)
        line = json.loads(JsonFormatter().format(logging.makeLogRecord({"msg": "said"})))
    (record,) = log.records
    assert fields(record) == ("", "", False, "shop")
    assert logging.Formatter(FORMATS["%"]).format(record) == "said|||False|shop"
    assert line["message"] == "said"
    assert event["trace_id"] == ""


class Stranger(trace.NonRecordingSpan):
    """A span that some library made up."""

    def __init__(self):
        super().__init__(trace.INVALID_SPAN_CONTEXT)

    def get_span_context(self):
        return None


def test_records_may_become_span_events(tracing, log):
    """By option a span tells what was logged in it, from a level on, with the exception."""
    undo = tracekit.logging.install(tracing=tracing, span_events="WARNING")
    with tracing.tracer("t").start_as_current_span("work"):
        log.info("quiet")
        try:
            int("x")
        except ValueError:
            log.exception("loud %d", 1)
        log.warning("bad %d", "args")
    log.warning("nowhere")
    undo()
    loud, bad = tracing.sink.take().events
    assert (loud.name, loud.attributes["message"]) == ("log", "loud 1")
    assert (loud.attributes["level"], loud.attributes["logger"]) == ("ERROR", "test")
    assert loud.attributes["exception.type"] == "ValueError"
    assert bad.attributes["message"] == "bad %d"
    with pytest.raises(ValueError, match="LOUD"):
        tracekit.logging.install(span_events="LOUD")


def test_a_record_of_an_event_is_none(log):
    """OpenTelemetry warns of each value that it cuts short; that warning is not an event again."""
    tracing = tracekit.testing.tracing(max_attribute_length=3)
    undo = tracekit.logging.install(tracing=tracing, span_events="WARNING")
    with tracing.tracer("t").start_as_current_span("work"):
        log.warning("much too long")
        log.warning("once more")
    undo()
    events = tracing.sink.take().events
    tracing.shutdown()
    assert [event.attributes["message"] for event in events] == ["muc", "onc"]


def line_of(record, **options):
    line = JsonFormatter(**options).format(record)
    assert "\n" not in line
    return json.loads(line)


def test_a_json_line_has_the_indexed_shape(tracing, installed, log):
    """Time in UTC with milliseconds, level, logger, message, service, ids, then the extra."""
    with tracing.tracer("t").start_as_current_span("work") as span:
        log.warning("two\nlines %s", "ü", extra={"customer": {"id": 392}})
    record = log.records[0]
    line = line_of(record)
    at = datetime.fromisoformat(line.pop("@timestamp").replace("Z", "+00:00"))
    assert at.tzinfo == timezone.utc
    assert abs(at.timestamp() - record.created) < 0.002
    trace_id, span_id = ids(span)
    assert line == {
        "level": "WARNING",
        "logger": "test",
        "message": "two\nlines ü",
        "service": "shop",
        "trace_id": trace_id,
        "span_id": span_id,
        "trace_sampled": True,
        "customer": {"id": 392},
    }


def test_a_line_outside_a_span_has_no_ids(tracing, log):
    """An empty id would be indexed as one; install is not needed for a formatter."""
    log.info("said")
    line = line_of(log.records[0], tracing=tracing, defaults={"env": "test"})
    assert not {"trace_id", "span_id", "trace_sampled"} & line.keys()
    assert (line["service"], line["env"]) == ("shop", "test")


def test_exceptions_and_stacks_are_text(log):
    """The traceback stands in one field of the one line."""
    try:
        int("x")
    except ValueError:
        log.exception("failed", stack_info=True)
    line = line_of(log.records[0])
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("ValueError: invalid literal for int() with base 10: 'x'")
    assert line["stack"].startswith("Stack")


def test_an_extra_cannot_take_a_fields_name(log):
    """A name that the line uses itself moves aside, it does not disappear."""
    log.info("said", extra={"level": "mine", "@timestamp": 0})
    line = line_of(log.records[0])
    assert (line["level"], line["extra_level"], line["extra_@timestamp"]) == ("INFO", "mine", 0)


class Odd:
    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


CYCLE: list = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        CYCLE,
        Odd(),
        {1: {2}},
        {(1, 2): 3},
        b"\xff",
        "\ud800",
        pytest.param(10**5000, id="more digits than Python writes"),
    ],
)
def test_nothing_in_extra_loses_the_line(log, value):
    """What JSON has no form for is written as text; the line is valid JSON always."""
    log.info("said", extra={"odd": value})
    line = line_of(log.records[0])
    assert line["message"] == "said"
    assert "odd" in line


VALUES = st.recursive(
    st.text(max_size=8) | st.floats() | st.integers(),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text(max_size=8), VALUES, max_size=4))
def test_every_line_is_one_line_of_json(extra):
    """Whatever is logged: one line, valid JSON without NaN, encodable anywhere."""
    record = logging.makeLogRecord({"msg": "said", **extra})
    record.args = ()
    line = JsonFormatter().format(record)
    assert "\n" not in line
    json.loads(line, parse_constant=pytest.fail)
    line.encode("ascii")


def test_a_file_can_name_the_formatter(capsys):
    """It takes what dictConfig and fileConfig hand to a formatter class."""
    import logging.config  # noqa: PLC0415 (where it is shown)

    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "json": {"class": "tracekit.logging.JsonFormatter", "format": "%(nothing)s"}
            },
            "handlers": {
                "out": {"class": "logging.StreamHandler", "formatter": "json", "stream": sys.stdout}
            },
            "loggers": {"configured": {"handlers": ["out"], "propagate": False}},
        }
    )
    logging.getLogger("configured").warning("said")
    assert json.loads(capsys.readouterr().out)["message"] == "said"
