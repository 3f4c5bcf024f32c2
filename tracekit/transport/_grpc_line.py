"""A line to a gRPC server whose calls no fork divides.

gRPC's core has one poller for the whole process. A child that is forked while a thread is polling
inherits the note that there is a poller, and no such thread: its own calls wait for ever, or the
core aborts it ("Check failed"). gRPC's handlers for forks see to that if no thread is in a call at
that moment, so that is what a fork waits for here. Where it cannot (C code forked), the child does
not touch gRPC at all.
"""

from __future__ import annotations

import _thread
import errno
import os
import threading
from functools import cache
from typing import TYPE_CHECKING, Protocol
from weakref import WeakSet

import grpc

from tracekit._process.fork import fork_mark
from tracekit._process.undivided import Undivided

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

# A unary call blocks and cannot be cancelled, or it needs a thread of gRPC's that lives on for a
# moment. A call with a stream of answers, driven by who reads it, is the same on the wire.
READER_DRIVES = ("SingleThreadedUnaryStream", 1)
"""An option of the channels that ``open_channel`` makes (``grpc.experimental.ChannelOptions``)."""

_DESCRIPTORS = 12
_THREADS = 8
"""How many gRPC needs to begin with, and some more."""


class Failure(Protocol):
    """What a failed call tells (``grpc.RpcError`` and ``grpc.Call`` in one)."""

    def code(self) -> grpc.StatusCode:
        """Return the status."""

    def details(self) -> str | None:
        """Return the server's words."""

    def trailing_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """Return what came after the answer."""


class CallFailedError(Exception):
    """A status other than OK. Nothing of gRPC's own that would have to be let go of."""

    def __init__(
        self, code: grpc.StatusCode, details: str, trailers: tuple[tuple[str, str | bytes], ...]
    ) -> None:
        super().__init__(code, details)
        self.code = code
        self.details = details
        self.trailers = trailers

    @classmethod
    def of(cls, call: Failure) -> CallFailedError:
        """Return what ``call`` tells."""
        return cls(call.code(), call.details() or "", tuple(call.trailing_metadata() or ()))


class Line:
    """Calls one method on a channel that is opened when it is needed. One thread at a time."""

    def __init__(self, method: str, open_channel: Callable[[], grpc.Channel]) -> None:
        self._method = method
        self._open = open_channel
        self._channel: grpc.Channel | None = None
        self._anchor: grpc.Channel | None = None
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
        """Return the answer; ``CallFailedError`` unless the status is OK.

        OSError where the process has no room for what gRPC needs to begin with.
        """
        with self._undivided.work():  # until gRPC has nothing of the call any more
            answer = self._call_now(request, timeout_s, metadata, compression)
        if isinstance(answer, CallFailedError):
            raise answer
        return answer

    def _call_now(
        self,
        request: bytes,
        timeout_s: float,
        metadata: Sequence[tuple[str, str]],
        compression: grpc.Compression,
    ) -> bytes | CallFailedError:
        self.broken_off = False
        if self._channel is None:
            if self._anchor is None:  # gRPC has not begun
                _ensure_room()
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
        except grpc.RpcError as error:  # which is the call; its frames hold it, too
            error.__traceback__ = None
            return CallFailedError.of(error)
        finally:
            self._call = None
        return response

    def drop(self) -> None:
        """Close the channel, for the next call to open another one.

        gRPC does not end meanwhile, as it does with its last channel, on a thread of its own: a
        child forked at that moment could not begin it again.
        """
        with self._undivided.work():
            if self._anchor is None:
                self._anchor = grpc.insecure_channel("localhost")  # never connected
            self._close_channel()

    def close(self) -> None:
        """Close the channel for good; a call opens one all the same."""
        with self._undivided.work():
            self._close_channel()
            if self._anchor is not None:
                self._anchor.close()
                self._anchor = None

    def _close_channel(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    @property
    def _is_open(self) -> bool:
        return self._channel is not None or self._anchor is not None

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


def _inherit(*, told: bool) -> None:
    """Look after what came with a fork; ``told``: Python knows of it, and so gRPC does."""
    for line in [each for each in _lines if not each._mark[0]]:
        _lines.discard(line)
        cut = line._undivided.was_cut
        if cut or line._is_open:
            _inherited.append((line, cut or not told))


@cache
def _attend_forks() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: _inherit(told=True))


def _ensure_room() -> None:
    """Raise OSError unless some descriptors and threads can be had.

    gRPC aborts the process where it cannot have its own ("Check failed: init_epoll1_linux()").
    """
    opened: list[int] = []
    done = threading.Event()
    try:
        for _ in range(_DESCRIPTORS // 2):
            opened += os.pipe()  # which needs no file, as some jails have none
        for _ in range(_THREADS):
            _thread.start_new_thread(done.wait, ())
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, "can't start new thread") from error
    finally:
        done.set()
        for each in opened:
            os.close(each)
