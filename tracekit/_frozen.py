"""Frozen dataclasses whose methods are written once, instead of compiled for each at import.

``dataclass(frozen=True)`` puts five functions together as text and compiles them: for the classes
of a start, a fifth of what all of tracekit's modules take. A class below ``Frozen`` is one to
``fields``, ``replace`` and type checkers all the same.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_options: object) -> Callable[[object], object]:
        """Do nothing: it speaks to type checkers."""
        return lambda decorator: decorator


_T = TypeVar("_T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[_T]) -> type[_T]:
    """Make a subclass of ``Frozen`` a dataclass, with the methods that it inherits."""
    return dataclass(init=False, repr=False, eq=False)(cls)


class _Signature:
    """What ``inspect.signature`` and editors show of a class: its fields."""

    def __get__(self, _instance: object, owner: type[Frozen]) -> object:
        import inspect  # noqa: PLC0415 - asked for by people, not by programs that start

        def parameter(row: Field[Any]) -> inspect.Parameter:
            default = row.default if row.default is not MISSING else row.default_factory
            return inspect.Parameter(
                row.name,
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=inspect.Parameter.empty if default is MISSING else default,
                annotation=row.type,
            )

        rows = getattr(owner, "__dataclass_fields__", {})
        return inspect.Signature([parameter(row) for row in rows.values()], return_annotation=None)


class Frozen:
    """What ``dataclass(frozen=True)`` gives a class: it is made, compared and shown by fields."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    __signature__: ClassVar[object] = _Signature()

    def __init__(self, *given: object, **named: object) -> None:
        known = self.__dataclass_fields__
        values = dict(zip(known, given, strict=False))
        if len(given) > len(known) or not known.keys() - values >= named.keys():
            names = ", ".join(sorted(named))  # (never values: they may be secret)
            raise TypeError(f"{type(self).__name__} has no such fields, or not as often: {names}")
        values |= named
        for name, row in known.items():
            if name in values:
                continue
            if row.default is not MISSING:
                values[name] = row.default
            elif row.default_factory is not MISSING:
                values[name] = row.default_factory()
            else:
                raise TypeError(f"{type(self).__name__} needs {name!r}")
        self.__dict__.update(values)

    def _compared(self, *, hashed: bool) -> tuple[object, ...]:
        return tuple(
            self.__dict__[name]
            for name, row in self.__dataclass_fields__.items()
            if row.compare and (row.hash is not False or not hashed)
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Frozen) or type(other) is not type(self):
            return NotImplemented
        return self._compared(hashed=False) == other._compared(hashed=False)

    def __hash__(self) -> int:
        return hash(self._compared(hashed=True))

    def __repr__(self) -> str:
        inner = ", ".join(f"{name}={self.__dict__[name]!r}" for name in self.__dataclass_fields__)
        return f"{type(self).__qualname__}({inner})"

    def __setattr__(self, name: str, value: object) -> None:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError(f"cannot delete field {name!r}")
