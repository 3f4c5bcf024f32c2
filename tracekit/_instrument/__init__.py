"""Tracing without a line of code: ``tracekit.instrument()``, and what ``tracekit run`` starts.

Nothing is imported here: a launcher becomes its program within milliseconds.
"""
