"""What a piece of work takes, by what can be counted: calls, and steps of the interpreter."""

from __future__ import annotations

import sys

from tracekit._process.tally import FREE_THREADED


def calls(work):
    """Return the functions that are called, Python's and C's."""
    counted = 0

    def profile(_frame, event, _argument):
        nonlocal counted
        counted += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return counted - 1  # the end of counting is a call, too


def byte_codes(work):
    """Return how many steps of the interpreter it takes."""
    counted = 0

    def local(_frame, event, _argument):
        nonlocal counted
        counted += event == "opcode"
        return local

    def enter(frame, _event, _argument):
        frame.f_trace_opcodes = True
        return local

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        work()
    finally:
        sys.settrace(before)
    return counted


def least(count, work):
    """Return the least that ``count`` says of ``work`` once it is warm."""
    for _ in range(5):
        work()
    return min(count(work) for _ in range(3))


def held_to(most, work):
    """Hold ``work`` to the calls, and where these can be counted to the byte codes, of ``most``."""
    assert least(calls, work) <= most[0]
    if sys.version_info < (3, 12) and not FREE_THREADED:  # later ones have others
        assert least(byte_codes, work) <= most[1]
