"""A line to a gRPC server whose calls no fork divides.

gRPC's core has one poller for the whole process. A child that is forked while a thread is polling
inherits the note that there is a poller, and no such thread: its own calls wait for ever, or the
core aborts it ("Check failed"). gRPC's handlers for forks see to that if no thread is in a call at
that moment, so that is what a fork waits for here. Where it cannot (C code forked), the child does
not touch gRPC at all.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from weakref import WeakSet

from tracekit._process.fork import fork_mark
from tracekit._process.undivided import Undivided

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import grpc

# A unary call blocks and cannot be cancelled, or it needs a thread of gRPC's that lives on for a
# moment. A call with a stream of answers, driven by who reads it, is the same on the wire.
READER_DRIVES = ("SingleThreadedUnaryStream", 1)
"""An option of the channels that ``open_channel`` makes (``grpc.experimental.ChannelOptions``)."""


class Line:
    """Calls one method on a channel that is opened when it is needed. One thread at a time."""

    def __init__(self, method: str, open_channel: Callable[[], grpc.Channel]) -> None:
        self._method = method
        self._open = open_channel
        self._channel: grpc.Channel | None = None
        self._call: grpc.Call | None = None
        self._undivided = Undivided(self._break_off)
        self._mark = fork_mark()
        self._mark[0] = 1
        self.broken_off = False
        """Whether the latest call was cancelled for a fork."""
        _attend_forks()
        _inherit(told=False)
        self.cut = any(cut for _, cut in _inherited)
        """Whether this process was forked in the midst of a call: gRPC cannot be used in it."""
        _lines.add(self)

    def call(
        self,
        request: bytes,
        *,
        timeout_s: float,
        metadata: Sequence[tuple[str, str]],
        compression: grpc.Compression,
    ) -> bytes:
        """Return the answer; ``grpc.RpcError`` as of a unary call."""
        with self._undivided.work():
            self.broken_off = False
            if self._channel is None:
                self._channel = self._open()
            call = self._channel.unary_stream(self._method)(
                request, timeout=timeout_s, metadata=metadata, compression=compression
            )
            self._call = call
            try:
                if self.broken_off:
                    call.cancel()
                response: bytes = next(call, b"")
                next(call, None)  # raises unless the status is OK
            finally:
                self._call = None
        return response

    def close(self) -> None:
        """Close the channel; the next call opens one."""
        with self._undivided.work():
            if self._channel is not None:
                self._channel.close()
                self._channel = None

    def _break_off(self) -> None:
        self.broken_off = True
        call = self._call
        if call is not None:
            call.cancel()


_lines: WeakSet[Line] = WeakSet()
_inherited: list[tuple[Line, bool]] = []
"""Lines of the processes that this one was forked from, and whether a fork cut them.

They are never let go of: what gRPC does to end a channel would reach the parent's connection, or
wait for a thread that is not here."""
_hooked: list[bool] = []


def _inherit(*, told: bool) -> None:
    """Look after what came with a fork; ``told``: Python knows of it, and so gRPC does."""
    for line in [each for each in _lines if not each._mark[0]]:
        _lines.discard(line)
        cut = line._undivided.was_cut
        if cut or line._channel is not None:
            _inherited.append((line, cut or not told))


def _attend_forks() -> None:
    if not _hooked and hasattr(os, "register_at_fork"):
        _hooked.append(True)
        os.register_at_fork(after_in_child=lambda: _inherit(told=True))
