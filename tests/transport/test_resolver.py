"""How the agent's address is looked up: how often, and in which address family."""

from __future__ import annotations

import math
import socket

import pytest
from waiting import eventually

import tracekit
from tracekit.testing import FakeClock
from tracekit.transport._resolver import Resolver

V4 = (socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("10.0.0.1", 6831))
V6 = (socket.AF_INET6, socket.SOCK_DGRAM, 17, "", ("fd00::1", 6831, 0, 0))


@pytest.fixture
def asked(monkeypatch):
    """Stand in for the name server; return the families that it was asked for."""
    families = []

    def getaddrinfo(host, port, *, family, type):  # noqa: A002 - the library's names
        families.append(family)
        return [row for row in (V6, V4) if family in (socket.AF_UNSPEC, row[0])]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return families


def test_an_address_is_looked_up_again(asked):
    """JAEGER_REPORTER_ATTEMPT_RECONNECT_INTERVAL: the agent may have moved."""
    clock = FakeClock()
    resolver = Resolver("agent", 6831, clock=clock, refresh_s=15.0)
    assert resolver.address(clock() + 5).host == "10.0.0.1"
    clock.advance(14.9)
    resolver.address(clock() + 5)
    assert len(asked) == 1
    clock.advance(0.2)
    # Asked as sends ask, again and again: the thread of the first lookup may still be ending.
    eventually(lambda: resolver.address(clock() + 5) is not None and len(asked) == 2)


def test_the_first_address_may_stay(asked):
    """JAEGER_REPORTER_ATTEMPT_RECONNECTING_DISABLED: one lookup for the life of the process."""
    clock = FakeClock()
    resolver = Resolver("agent", 6831, clock=clock, refresh_s=math.inf)
    for _ in range(3):
        assert resolver.address(clock() + 5) is not None
        clock.advance(86_400)
        resolver.doubt()
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("family", "host"),
    [(socket.AF_UNSPEC, "10.0.0.1"), (socket.AF_INET, "10.0.0.1"), (socket.AF_INET6, "fd00::1")],
)
def test_only_the_family_asked_for_is_used(asked, family, host):
    """JAEGER_AGENT_SOCKET_TYPE: udp4 or udp6."""
    clock = FakeClock()
    resolver = Resolver("agent", 6831, clock=clock, family=family)
    assert resolver.address(clock() + 5).host == host
    assert asked == [family]


def test_an_interface_is_waited_for(asked):
    """An address may name one that comes after the program does; until then it is looked up."""
    clock = FakeClock()
    assert Resolver("[fe80::1%no-such-if]", 6831, clock=clock).address(clock() + 5) is not None
    assert asked == [socket.AF_UNSPEC]


def test_a_start_without_the_interface():
    """Nothing is raised, and its spans wait."""
    tracing = tracekit.init(
        "s", environ={}, set_global=False, agent_host="fe80::1%no-such-if", exit_budget_s=0
    )
    tracing.tracer("t").start_span("s").end()
    assert tracing.settings.transport.agent_host == "fe80::1%no-such-if"
    tracing.shutdown()
