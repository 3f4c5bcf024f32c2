"""What tracekit raises, and whose fault it is.

::

    TracekitError
    ├── ConfigError      yours: settings that cannot be used (only with ``strict=True``)
    └── StrategyError    the sampling server's: an answer that is no strategy

Nothing else leaves the library: a header, a collector or a hook that misbehaves costs a counter,
never an exception in the program that is traced.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class TracekitError(Exception):
    """The root of every exception that tracekit raises on purpose."""


class Problem(NamedTuple):
    """One setting that could not be used: what it was called, what it held, why, what is used."""

    name: str
    value: str
    message: str
    used: str

    def __str__(self) -> str:
        return f"{self.name}={self.value!r}: {self.message}; using {self.used}"


class ConfigError(TracekitError, ValueError):
    """Settings that cannot be used; ``problems`` lists all of them, not only the first."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))

    def __reduce__(self) -> tuple[type[ConfigError], tuple[tuple[Problem, ...]]]:
        return type(self), (self.problems,)


class StrategyError(TracekitError, ValueError):
    """A sampling server's answer that is no strategy: the last good one stays in force."""
