"""What a collector, a sampling server or an operation's name say cannot forge a line of our log."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading

import pytest

import tracekit

EVIL = "ok\x1b[2J\x00\r\tCRITICAL root: forged \u202e" + "x" * 60_000


@contextlib.contextmanager
def answering(data: bytes):
    """A server that answers every connection with ``data``; yields its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = listener.accept()
                with peer, contextlib.suppress(OSError):
                    peer.settimeout(5)
                    peer.recv(65536)
                    peer.sendall(data)
                    peer.shutdown(socket.SHUT_WR)
                    while peer.recv(65536):
                        pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


STATUS = f"HTTP/1.1 {EVIL}\r\n\r\n".encode()
BODY = b"HTTP/1.1 400 Bad\r\nConnection: close\r\n\r\n" + f"a\n{EVIL}".encode()


@pytest.mark.parametrize(
    "answer", [STATUS, BODY, b"\x00\x1b\n" * 9000], ids=["status", "body", "noise"]
)
def test_what_servers_answer(answer, caplog):
    """Each record is one printable line of a few hundred characters; so is what stats say."""
    with answering(answer) as port, caplog.at_level(logging.DEBUG, "tracekit"):
        tracing = tracekit.init(
            "s",
            environ={},
            endpoint=f"http://127.0.0.1:{port}/x",
            sampler_type="remote",
            sampler_param=1,
            sampling_endpoint=f"http://127.0.0.1:{port}/sampling",
            log_spans=True,
            set_global=False,
        )
        tracing.tracer("t").start_span(EVIL).end()
        tracing.flush(0.5)
        sampler = tracing.provider.sampler.root
        sampler.feed.poll()
        error = tracing.stats().sampler["last_error"]
        tracing.shutdown(0.1)
    assert error
    lines = [record.getMessage() for record in caplog.records] + [error]
    assert len(lines) > 3
    for line in lines:
        assert line.isprintable(), line
        assert len(line) < 800, line
