"""What stands around the spans of a Jaeger batch: call, process, losses, ends of structs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracekit.encoding._idl import BATCH, CLIENT_STATS, EMIT_BATCH, EMIT_BATCH_ARGS, PROCESS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.sdk.resources import Resource

    from tracekit._protocols import Loss
    from tracekit.encoding._tags import Tags
    from tracekit.encoding._thrift import Dialect, Field

_STOP = b"\0"


class Envelope:
    """The bytes before and after the spans; with ``call``, an agent's ``emitBatch`` around them."""

    def __init__(
        self,
        dialect: Dialect,
        tags: Tags,
        *,
        call: bool,
        process_tags: Callable[[], Mapping[str, str]],
    ) -> None:
        self._dialect = dialect
        self._tags = tags
        self._call = call
        self._process_tags = process_tags
        self._measured: tuple[int, Loss] | None = None
        self._fixed_bytes = 0  # of a batch with this number and these losses

    def process(self, resource: Resource) -> bytes:
        """Return the Process: ``service.name``, the other attributes, Jaeger's own tags."""
        attributes = dict(resource.attributes)
        service = str(attributes.pop("service.name", "unknown_service"))
        # What the program says of itself goes before what Jaeger's clients would add.
        for key, value in self._process_tags().items():
            attributes.setdefault(key, value)
        tags: list[bytes] = []
        self._tags.extend(tags, attributes.items())
        encoded = self._field(PROCESS["serviceName"], None, self._tags.text(service))
        if tags:
            head = self._field(
                PROCESS["tags"], PROCESS["serviceName"], self._dialect.structs(len(tags))
            )
            encoded += head + b"".join(tags)
        return encoded + _STOP

    def size_bytes(self, process: bytes, count: int, seq_no: int, loss: Loss) -> int:
        """Return how many bytes stand around ``count`` spans."""
        structs = self._dialect.structs
        if self._measured != (seq_no, loss):
            empty = len(self.before(b"", 0, seq_no)) - len(structs(0))
            self._fixed_bytes = empty + len(self.after(seq_no, loss))
            self._measured = (seq_no, loss)
        return self._fixed_bytes + len(process) + len(structs(count))

    def before(self, process: bytes, count: int, seq_no: int) -> bytes:
        """Return all up to the first of ``count`` spans."""
        batch = self._field(BATCH["process"], None, process)
        spans = self._field(BATCH["spans"], BATCH["process"], self._dialect.structs(count))
        if not self._call:
            return batch + spans
        # A one-way call: nobody answers, so its sequence id is free to be the batch's number.
        message = self._dialect.message(EMIT_BATCH, seq_no)
        return message + self._field(EMIT_BATCH_ARGS["batch"], None, b"") + batch + spans

    def after(self, seq_no: int, loss: Loss) -> bytes:
        """Return what lets an agent see losses (calls only), and the ends of the structs."""
        if not self._call:
            return _STOP
        # By gaps in ``seqNo`` the agent knows what did not come. The stats are totals, so the next
        # batch makes good what one that was lost would have told.
        i64 = self._dialect.i64
        full, large, failed = CLIENT_STATS.fields.values()
        return b"".join(
            (
                self._field(BATCH["seqNo"], BATCH["spans"], i64(seq_no)),
                self._field(BATCH["stats"], BATCH["seqNo"], b""),
                self._field(full, None, i64(loss.queue_full)),
                self._field(large, full, i64(loss.too_large)),
                self._field(failed, large, i64(loss.send_failed)),
                _STOP * 3,  # of stats, batch and arguments
            )
        )

    def _field(self, field: Field, after: Field | None, value: bytes) -> bytes:
        return self._dialect.header(field, after) + value
