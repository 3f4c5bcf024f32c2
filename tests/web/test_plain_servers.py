"""Byte for byte what servers make of a plain WSGI application, traced and bare."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from ports import free_port, until_listening

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]


@pytest.fixture(params=["wsgiref", "waitress", "gevent"])
def port(request, tmp_path):
    number = free_port()
    program = Path(__file__).with_name("served_plain.py")
    with (tmp_path / "log").open("wb") as log:
        command = [sys.executable, str(program), request.param, str(number)]
        server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            until_listening(number, server, (tmp_path / "log").read_text)
            yield number
        finally:
            server.terminate()
            server.wait(10)


def answer(port, method, path, version):
    """Return all bytes that the server sends, but for the time of day."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(
            f"{method} {path} HTTP/{version}\r\nHost: h\r\nConnection: close\r\n\r\n".encode()
        )
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    return re.sub(rb"\r\nDate: [^\r]*", b"", received)


def test_every_answer_is_the_bare_one(port):
    """Byte by byte: lists, iterators, files, written data, wrong lengths and types, late errors."""
    paths = answer(port, "GET", "/", "1.0").rpartition(b"\r\n")[2].decode().split()
    assert "/list" in paths
    for path in paths:
        for method, version in (("GET", "1.1"), ("HEAD", "1.1"), ("GET", "1.0")):
            asked = (method, path, version)
            assert answer(port, *asked) == answer(port, method, f"/bare{path}", version), asked
