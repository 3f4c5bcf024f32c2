"""Layers of given values: arguments over environment over file over defaults.

A layer holds, for each setting, what was given in it, best first. It checks nothing across
settings and across layers; that is ``rules``.
"""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING, NamedTuple

from tracekit._config.schema import SETTINGS
from tracekit._config.values import PartlyGoodError
from tracekit._display import MASK, masked, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable

_MAX_MESSAGE = 400


class Given(NamedTuple):
    """A checked value and where it stands (a variable, ``file:line``, an argument).

    ``wire`` limits it: credentials meant for one receiver must never be sent to another. Should it
    contradict another setting, the complaint says ``called`` and ``written``.
    """

    value: object
    source: str
    wire: str = ""
    called: str = ""
    written: str = ""


class Complaint(NamedTuple):
    """What could not be used; ``setting`` names what it was meant for (None: nothing known)."""

    setting: str | None
    name: str
    written: str
    message: str


class Layer:
    """What one source gives; filled by one reader, then only read."""

    def __init__(self) -> None:
        self.given: dict[str, list[Given]] = {}
        self.complaints: list[Complaint] = []
        self.notes: list[str] = []

    def give(
        self,
        setting: str,
        value: object,
        source: str,
        *,
        called: str | None = None,
        written: object = None,
        wire: str = "",
    ) -> None:
        """Check ``value`` and add it behind what was given before, or complain.

        A complaint says ``called`` (None: ``source``) and ``written`` (None: the value).
        """
        called = called or source
        written = value if written is None else written
        try:
            checked = SETTINGS[setting].check(value)
        except PartlyGoodError as error:
            self.complain(setting, called, written, str(error))
            checked = error.good
        except ValueError as error:
            self.complain(setting, called, written, str(error))
            return
        given = Given(checked, source, wire, called, shown_text(setting, written))
        self.given.setdefault(setting, []).append(given)

    def complain(self, setting: str | None, name: str, written: object, message: str) -> None:
        """Note that ``written`` under ``name`` cannot be used (for ``setting``)."""
        # The name may be a key of somebody's file.
        name, message = quoted(name), quoted(message, _MAX_MESSAGE)
        self.complaints.append(Complaint(setting, name, shown_text(setting, written), message))

    def first(self, setting: str, wires: tuple[str, ...] = ("",)) -> Given | None:
        """Return the best value given for ``setting`` on one of ``wires``."""
        for given in self.given.get(setting, ()):
            if given.wire in wires:
                return given
        return None


def shown_text(setting: str | None, value: object) -> str:
    """Return a value as it may be shown: secrets masked, one line, not too long."""
    if setting is not None and SETTINGS[setting].secret and value:
        return MASK
    return quoted(masked(value if isinstance(value, str) else _repr(value)))


def _repr(value: object) -> str:
    try:
        return reprlib.repr(value)
    except Exception:  # an argument's own, or a number of more digits than Python prints
        return f"<{type(value).__name__}>"


def shown(setting: str, value: object) -> object:
    """Return a checked value as JSON may hold it: secrets masked, tuples as lists."""
    if SETTINGS[setting].secret and value:
        if setting == "headers":
            return dict.fromkeys(value, MASK)  # type: ignore[call-overload]
        return MASK
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, tuple):
        return plain(value)
    return dict(value) if setting == "tags" else value  # type: ignore[call-overload]


def plain(value: object) -> object:
    """Return a checked value, tuples as lists, and a predicate by its name."""
    if not isinstance(value, tuple):
        return value
    if all(isinstance(each, str) for each in value):
        return list(value)
    from tracekit.sampling._keep import predicate_name  # noqa: PLC0415 - few settings hold one

    return [each if isinstance(each, str) else f"<{predicate_name(each)}>" for each in value]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean …?`` when one of ``known`` looks like ``name``."""
    import difflib  # noqa: PLC0415 - only for what is wrong

    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
