"""What is held, and what goes: traces bounded in bytes, in memory and in a file."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.local import Tags, TraceStore
from tracekit.local._records import OVERHEAD_BYTES, Record, Source
from tracekit.local._sqlite import StoreFileError, TraceFile

SOURCE = Source("otlp", "shop", Tags([("b", b"\x00\xff"), ("n", 2**60), ("f", 0.5)]), Tags())


def record(trace_id=1, operation="op", raw=b"", service="shop", **fields):
    given = {"kind": "server", "error": False, "start_us": 0, "duration_us": 1, **fields}
    return Record(
        trace_id=trace_id,
        span_id=trace_id,
        parent_id=0,
        operation=operation,
        source=SOURCE._replace(service=service),
        raw=raw,
        **given,
    )


RECORDS = st.builds(
    record,
    st.integers(1, 8),
    operation=st.sampled_from(["a", "b"]),
    service=st.sampled_from(["x", "y"]),
    raw=st.binary(max_size=300),
)


@given(batches=st.lists(st.lists(RECORDS, max_size=5), max_size=20))
def test_figures_are_those_of_what_is_held(batches):
    """However spans come and go: sums, services and operations equal those of the traces held."""
    store = TraceStore(max_bytes=6 * OVERHEAD_BYTES)
    for batch in batches:
        store.add(batch)

    held = [each for _, records in store.traces() for each in records]
    assert store.spans == len(held)
    assert store.size_bytes == sum(each.size_bytes for each in held)
    assert store.spans + store.evicted_spans + store.refused == sum(map(len, batches))
    assert store.services() == sorted({each.service for each in held})
    for service in ("x", "y"):
        names = {(each.operation, each.kind) for each in held if each.service == service}
        assert {(name, kind) for _, name, kind in store.operations(service)} == names
    assert store.size_bytes <= store.max_bytes or len(store.traces()) == 1


def test_one_trace_cannot_fill_the_store():
    """One endless trace does not push out all others: half of the room is its share."""
    store = TraceStore(max_bytes=10 * OVERHEAD_BYTES)
    store.add([record(1)])
    store.add([record(2) for _ in range(20)])

    assert (store.spans, store.refused) == (6, 15)
    assert store.trace(1) is not None


def test_a_file_gives_back_what_it_was_given(tmp_path):
    """Every field of every record, of sources with tags of any type, in the order of arrival."""
    huge = record(2**128 - 1, operation="ü\ud800", start_us=2**80, duration_us=-5, raw=b"\x00raw")
    file = TraceFile(str(tmp_path / "traces.db"))
    file.keep([record(1), huge, record(3)])
    file.forget([3])
    file.close()

    again = TraceFile(str(tmp_path / "traces.db"))
    first, second = again.records()
    again.close()

    assert first == record(1)
    assert second == huge._replace(operation="ü?")


def test_evicted_spans_leave_the_file(tmp_path):
    """A file that was made with more memory shrinks to what is held now."""
    file = TraceFile(str(tmp_path / "traces.db"))
    file.keep([record(number) for number in range(1, 21)])
    store = TraceStore(max_bytes=5 * OVERHEAD_BYTES)
    store.restore(file)
    store.add([record(30)])

    assert [each.trace_id for each in file.records()] == [17, 18, 19, 20, 30]
    assert [trace_id for trace_id, _ in store.traces()] == [17, 18, 19, 20, 30]
    store.clear()
    assert list(file.records()) == []
    file.close()


def test_a_failing_file_is_left_and_told(tmp_path):
    """The traces in memory do not suffer from a disk that is full."""
    file = TraceFile(str(tmp_path / "traces.db"))
    store = TraceStore()
    store.restore(file)
    file._db.execute("DROP TABLE span")

    store.add([record(1)])
    store.add([record(2)])

    assert store.spans == 2
    assert "no longer written: no such table" in store.failed
    file.close()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE source SET content = '['",
        "UPDATE source SET content = '{\"format\": 1}'",
        "UPDATE span SET source = 99",
        "UPDATE span SET start_us = 'x'",
        "UPDATE span SET trace_id = 7.5",
    ],
)
def test_a_broken_file_is_named_in_an_error(damage, tmp_path):
    """Whatever stands in it: one clear error, no other exception."""
    path = str(tmp_path / "traces.db")
    file = TraceFile(path)
    file.keep([record(1)])
    file.close()
    with sqlite3.connect(path) as database:
        database.execute(damage)
    database.close()

    file = TraceFile(path)
    with pytest.raises(StoreFileError, match=r"traces\.db is broken"):
        list(file.records())
    file.close()
