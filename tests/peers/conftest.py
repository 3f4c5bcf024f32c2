"""A group of peers whose packages are not installed is not looked at; ``make test`` has none."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

_left_out: set[str] = set()


@lru_cache
def _missing(requirements: Path) -> list[str]:
    """Return the distributions of ``requirements`` that are not installed."""
    missing = []
    for line in requirements.read_text(encoding="utf-8").splitlines():
        requirement, _, marker = line.partition("#")[0].partition(";")
        name = re.match(r"[A-Za-z0-9._-]+", requirement.strip())
        if name is None or marker.strip():
            continue
        try:
            metadata.version(name[0])
        except metadata.PackageNotFoundError:
            missing.append(name[0])
    return missing


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out a group whose packages are not there."""
    group = collection_path.with_suffix(".txt")
    if collection_path.is_dir() and group.is_file() and _missing(group):
        _left_out.add(collection_path.name)
        return True
    return None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which groups were left out."""
    for name in sorted(_left_out):
        terminalreporter.write_line(f"peers: group {name} was left out, see `make test-peers`")
