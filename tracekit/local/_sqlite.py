"""Traces in a file beyond the life of ``tracekit view``: ``--store FILE``, by SQLite."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from typing import TYPE_CHECKING

from tracekit.local._jaeger_json import key_values, tags_of
from tracekit.local._json import DecodeError, obj, string
from tracekit.local._records import Record, Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_APPLICATION = 0x74_6B_76_77  # what ``file`` and others tell our files by
_SCHEMA = """
CREATE TABLE source (id INTEGER PRIMARY KEY, content TEXT NOT NULL UNIQUE);
CREATE TABLE span (
    id INTEGER PRIMARY KEY, trace_id BLOB NOT NULL, span_id BLOB NOT NULL, parent_id BLOB NOT NULL,
    operation TEXT NOT NULL, kind TEXT NOT NULL, error INTEGER NOT NULL, start_us BLOB NOT NULL,
    duration_us BLOB NOT NULL, source INTEGER NOT NULL, raw BLOB NOT NULL
);
CREATE INDEX span_trace ON span (trace_id);
"""


class StoreFileError(OSError):
    """A file that cannot be used as a store; the message says why."""


class TraceFile:
    """A file of spans. Any thread may call its methods.

    When a write fails (the disk is full, say) the file is left as it is, ``failed`` says why, and
    nothing more is written: the traces in memory do not suffer.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.failed: str | None = None
        self._lock = threading.Lock()
        self._sources: dict[str, int] = {}
        try:
            self._db = sqlite3.connect(path, check_same_thread=False, timeout=2)
            self._open()
        except sqlite3.Error as error:
            raise StoreFileError(f"{path} cannot be used as a store: {error}") from None

    def _open(self) -> None:
        (application,) = self._db.execute("PRAGMA application_id").fetchone()
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables and application != _APPLICATION:
            self._db.close()
            raise StoreFileError(f"{self.path} is somebody else's database")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        if not tables:
            self._db.executescript(_SCHEMA)
            self._db.execute(f"PRAGMA application_id = {_APPLICATION}")
        for number, content in self._db.execute("SELECT id, content FROM source"):
            self._sources[content] = number

    def keep(self, records: Iterable[Record]) -> None:
        """Write records."""
        self._write(
            "INSERT INTO span (trace_id, span_id, parent_id, operation, kind, error, start_us,"
            " duration_us, source, raw) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    _id(record.trace_id),
                    _id(record.span_id),
                    _id(record.parent_id),
                    record.operation.encode("utf-8", "replace").decode(),
                    record.kind,
                    record.error,
                    # Not as numbers: what a sender says may be larger than SQLite's.
                    str(record.start_us),
                    str(record.duration_us),
                    self._source(record.source),
                    record.raw,
                )
                for record in records
            ),
        )

    def forget(self, trace_ids: Iterable[int]) -> None:
        """Remove traces."""
        self._write(
            "DELETE FROM span WHERE trace_id = ?", ((_id(trace_id),) for trace_id in trace_ids)
        )

    def records(self) -> Iterator[Record]:
        """Yield what the file holds, the oldest first; ``StoreFileError`` if it is broken."""
        try:
            sources = {
                number: _read_source(content)
                for number, content in self._db.execute("SELECT id, content FROM source")
            }
            for row in self._db.execute(
                "SELECT trace_id, span_id, parent_id, operation, kind, error, start_us,"
                " duration_us, source, raw FROM span ORDER BY id"
            ):
                trace_id, span_id, parent_id, operation, kind, error, start, lasted, *rest = row
                yield Record(
                    int.from_bytes(trace_id, "big"),
                    int.from_bytes(span_id, "big"),
                    int.from_bytes(parent_id, "big"),
                    str(operation),
                    str(kind),
                    bool(error),
                    int(start),
                    int(lasted),
                    sources[rest[0]],
                    bytes(rest[1]),
                )
        except (sqlite3.Error, ValueError, TypeError, KeyError) as error:
            raise StoreFileError(f"{self.path} is broken: {error}") from None

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        with self._lock, contextlib.suppress(sqlite3.Error):
            self._db.close()

    def _write(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        with self._lock:
            if self.failed is not None:
                return
            try:
                with self._db:
                    self._db.executemany(statement, rows)
            except sqlite3.Error as error:
                self.failed = f"{self.path} is no longer written: {error}"

    def _source(self, source: Source) -> int:
        content = json.dumps(
            {
                "format": source.format,
                "service": source.service,
                "process": key_values(source.process_tags.pairs),
                "scope": key_values(source.scope.pairs),
            }
        )
        number = self._sources.get(content)
        if number is None:
            cursor = self._db.execute("INSERT INTO source (content) VALUES (?)", (content,))
            number = self._sources[content] = cursor.lastrowid or 0
        return number


def _id(number: int) -> bytes:
    return number.to_bytes(16, "big")


def _read_source(content: str) -> Source:
    try:
        fields = obj(json.loads(content), "a source")
    except RecursionError:
        raise DecodeError("a source is nested too deeply") from None
    return Source(
        string(fields, "format"),
        string(fields, "service"),
        tags_of(fields, "process"),
        tags_of(fields, "scope"),
    )
