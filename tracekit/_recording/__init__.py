"""Spans under test: the recorder behind ``tracekit.testing.recording`` and the pytest plugin.

A launcher, as ``tracekit run`` is one: it starts a strict handle in the place of the process'
handle, and puts everything back afterwards.
"""

from __future__ import annotations

from tracekit._recording.handles import MemoryTransport, SpanSink, TestTracing
from tracekit._recording.session import recording
from tracekit._recording.spans import Spans
from tracekit._recording.tree import assert_trace

__all__ = ["MemoryTransport", "SpanSink", "Spans", "TestTracing", "assert_trace", "recording"]
