"""What a file of sampling strategies says."""

from __future__ import annotations


def rule(kind, param, **operations):
    """Return the entry of a service, or of the default, with rates by operation."""
    listed = [
        {"operation": name, "type": "probabilistic", "param": rate}
        for name, rate in operations.items()
    ]
    return {"type": kind, "param": param, **({"operation_strategies": listed} if listed else {})}
