"""The messages of an RPC, as its converters see them: counted, and told of where that is asked for.

gRPC has no other place where all messages pass, and to it what a converter raises is the end of the
call. So nothing in here fails what gRPC does.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from tracekit._calls.lifecycle import BaseCall, message_of

if TYPE_CHECKING:
    from tracekit.grpc._shared import CallPlan

Convert = Callable[[object], object]
"""A serializer or deserializer."""


@dataclasses.dataclass(frozen=True)
class MessageCount:
    """Messages that went one way so far, and their bytes (0 if they are not seen)."""

    count: int
    bytes: int


class Messages(BaseCall):
    """One RPC as far as its messages go."""

    plan: CallPlan
    serialize: Convert | None = None
    deserialize: Convert | None = None
    """What gRPC would convert messages with; None: they are bytes."""
    sees_bytes = False
    """Whether all messages pass ``send`` and ``receive``."""
    sees_requests = False
    """Whether at least the requests are counted."""
    sent_count = sent_bytes = received_count = received_bytes = 0
    failure: str | None = None
    """What went wrong with a message or a request iterator."""
    _noted = 0

    @property
    def sent(self) -> MessageCount:
        """What this side has sent so far."""
        return MessageCount(self.sent_count, self.sent_bytes)

    @property
    def received(self) -> MessageCount:
        """What this side has received so far."""
        return MessageCount(self.received_count, self.received_bytes)

    def receive(self, data: object) -> object:
        """Deserialize one message as gRPC would, and count it."""
        deserialize = self.deserialize
        try:
            message = data if deserialize is None else deserialize(data)
        except BaseException as error:
            self.spoilt(error)
            raise
        self.received_count += 1
        if data.__class__ is bytes or isinstance(data, bytes):  # (a call for each message)
            self.received_bytes += len(data)
            if self.plan.message_events:
                self._heed(functools.partial(self._add_event, "RECEIVED", len(data)))
        return message

    def send(self, message: object) -> object:
        """Serialize one message as gRPC would, and count it."""
        serialize = self.serialize
        try:
            data = message if serialize is None else serialize(message)
        except BaseException as error:
            self.spoilt(error)
            raise
        if data.__class__ is bytes and not self.plan.message_events:
            self.sent_count += 1
            self.sent_bytes += len(data)
        else:
            self.sent_otherwise(data)
        return data

    def sent_otherwise(self, data: object) -> None:
        """Count a message of which there is more to say, or that is no plain bytes."""
        if type(data) is bytes:  # gRPC takes no subclass
            self.sent_count += 1
            self.sent_bytes += len(data)
            self._heed(functools.partial(self._add_event, "SENT", len(data)))
        elif self.sends(data):
            self.sent_count += 1
        else:
            self.spoilt(TypeError(f"Expected bytes, got {type(data).__name__}"))

    def spoilt(self, error: BaseException) -> None:
        """Called when a message is not converted, and ``error`` is about to tell gRPC."""
        self._heed(functools.partial(self.unconverted, error))

    def _heed(self, what: Callable[[], None]) -> None:
        """Do something of ours where gRPC would fail the call for what is raised."""
        try:
            what()
        except Exception:
            self.plan.complain("following a call")

    def sends(self, data: object) -> bool:
        """Return whether gRPC sends ``data``, which a serializer returned, though no bytes."""
        del data
        return True  # what a client cannot send it is told, and so are we

    def unconverted(self, error: BaseException) -> None:
        """Called when a message could not be turned into or from bytes."""
        self.note(error)

    def note(self, error: BaseException) -> None:
        """Record what went wrong with a message or a request iterator, at once and as text.

        To keep ``error`` would keep its traceback, and so the frames from which gRPC is about to
        drop the handler's iterator.
        """
        self.failure = f"{type(error).__name__}: {message_of(error)}"
        self._noted = id(error)
        if self.live and self.span.is_recording():
            self.span.record_exception(error)

    def _add_event(self, direction: str, size_bytes: int) -> None:
        if self.live:
            self.span.add_event(
                "rpc.message",
                {
                    "rpc.message.type": direction,
                    "rpc.message.id": (
                        self.sent_count if direction == "SENT" else self.received_count
                    ),
                    "rpc.message.uncompressed_size": size_bytes,
                },
            )
