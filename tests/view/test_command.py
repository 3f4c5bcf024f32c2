"""``tracekit view`` and ``tracekit draw`` as a user runs them."""

from __future__ import annotations

import json
import signal
import socket
import sqlite3

import pytest
import urllib3
from running_view import span
from waiting import eventually

from tracekit._cli.main import main

OTLP = "OTLP over HTTP"
QUERY = "the page and Jaeger's query API"


def test_traces_are_drawn_as_they_complete(view, send):
    """A whole trace is drawn once; spans that come later are drawn with it again, and said so."""
    running = view()
    port = running.port(OTLP)
    send(port, span("child", number=2, parent=1), span("root"))

    running.wait_for(r"trace 0{31}1  2 spans, 1 service")
    send(port, span("late", number=3, parent=1))

    running.wait_for(r"1 more span of a trace above:\ntrace 0{31}1  3 spans")
    assert running.end() == 0


def test_filters_choose_what_is_drawn(view, send):
    """Only traces of which every word is true are drawn."""
    running = view("service=shop", "error", "min=50ms", "car")
    port = running.port(OTLP)
    broken = {"status": {"code": 2, "message": "no car"}}
    send(port, span("fine car", trace=1, lasted_ms=60))
    send(port, span("short car", trace=2, **broken))
    send(port, span("other", trace=3, lasted_ms=60, **broken), service="elsewhere")
    send(port, span("wanted", trace=4, lasted_ms=60, **broken))

    running.wait_for("trace 0{31}4")
    assert running.end(signal.SIGTERM) == 0
    assert running.said.count("trace 0") == 1


def test_what_arrives_broken_is_told(view):
    """A line names the wire and the reason, without anything that could steer a terminal."""
    running = view()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        port = running.port("Jaeger's compact Thrift")
        sender.sendto(b"\x82\x81\x01\x05\x1b[31mx", ("127.0.0.1", port))

    running.wait_for("1 broken message, the last by udp: a call of")
    assert "\x1b" not in running.said


def test_taken_ports_end_it_with_the_remedy(view):
    """Status 1; the ports, who to ask and what to say instead."""
    running = view()
    number = running.port(OTLP)

    second = view("--port", f"otlp={number}")

    second.wait_for(rf"(?s){number}/tcp  OTLP over HTTP: .*ss -lntup.*--port-offset")
    assert second.ended() == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["--port", "nothing=1"],
        ["--port", "otlp=many"],
        ["--port-offset", "70000"],
        ["min=soon"],
    ],
)
def test_wrong_words_are_misuse(arguments, capsys):
    """An unknown port, a number that is none, a duration that is none: status 2, said why."""
    with pytest.raises(SystemExit) as ended:
        main(["view", *arguments])

    assert ended.value.code == 2
    assert "tracekit view: error:" in capsys.readouterr().err


def test_a_file_keeps_the_traces(view, send, tmp_path):
    """What came is there again after a restart, and can be exported without one."""
    file = str(tmp_path / "traces.db")
    running = view("--store", file)
    send(running.port(OTLP), span("kept", attributes=[_attribute("n", {"intValue": "7"})]))
    running.wait_for("trace 0")
    running.end()

    again = view("--store", file)
    answer = urllib3.request("GET", f"http://127.0.0.1:{again.port(QUERY)}/api/traces/1").json()
    again.end()
    out = tmp_path / "trace.json"

    assert "1 spans held" in again.said
    assert answer["data"][0]["spans"][0]["operationName"] == "kept"
    assert main(["view", "--store", file, "--export", str(out)]) == 0
    assert json.loads(out.read_text())["data"] == answer["data"]


def test_somebody_elses_file_is_left_alone(view, tmp_path):
    """A database of another program, or no database at all, is refused and not changed."""
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as database:
        database.execute("CREATE TABLE precious (x)")
    database.close()
    before = other.read_bytes()
    text = tmp_path / "text"
    text.write_text("hello " * 1000)

    for file, reason in ((other, "somebody else's database"), (text, "not a database")):
        running = view("--store", str(file))
        running.wait_for(reason)
        assert running.ended() == 1
    assert other.read_bytes() == before


def test_the_users_browser_opens_the_page(view, tmp_path, monkeypatch):
    """What BROWSER names is given the page's address."""
    told = tmp_path / "told"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {told}.part && mv {told}.part {told}\n')
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    running = view("--open")
    port = running.port(QUERY)
    eventually(told.exists)

    assert told.read_text() == f"http://127.0.0.1:{port}\n"
    page = urllib3.request("GET", told.read_text().strip())
    assert b"<title>tracekit view</title>" in page.data


def _attribute(key, value):
    return {"key": key, "value": value}


@pytest.mark.parametrize("name", ["trace.json", "trace.perfetto.json", "trace.html"])
def test_a_trace_is_written_and_drawn_again(view, send, tmp_path, capsys, name):
    """The newest trace that passes the filters is written, and ``tracekit draw`` shows it."""
    running = view("--quiet")
    port, query = running.port(OTLP), running.port(QUERY)
    send(port, span("older", trace=1))
    send(port, span("<wanted>", trace=2), span("below", trace=2, number=2, parent=1))
    send(port, span("newest", trace=3))
    out = str(tmp_path / name)
    source = ["--source", f"http://127.0.0.1:{query}"]

    assert main(["view", "--export", out, "operation=<wanted>", *source]) == 0
    assert main(["draw", out, "--width", "80"]) == 0

    said = capsys.readouterr().out
    assert "2 spans" in said
    assert "shop <wanted>" in said
    assert "└─ shop below" in said
    assert main(["view", "--export", out, "service=nobody", *source]) == 1
    assert main(["view", "--export", out, "--trace", "77", *source]) == 1
    assert main(["view", "--export", str(tmp_path / "trace.exe"), *source]) == 1
    assert "no such trace" in capsys.readouterr().err
    running.end()
    assert main(["view", "--export", out, *source]) == 1
    assert "is `tracekit view` running?" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b"[1]", b'{"data": 1}', b"\xff", b"[" * 10**5]
)
def test_a_file_without_traces_is_refused(content, tmp_path, capsys):
    """Status 1 and the reason, whatever the file is."""
    file = tmp_path / "file.json"
    file.write_bytes(content)

    assert main(["draw", str(file)]) == 1
    assert capsys.readouterr().err.startswith("tracekit draw: ")
