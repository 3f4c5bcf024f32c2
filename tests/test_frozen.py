"""Frozen classes, written once, beside those that the standard library compiles."""

import dataclasses
import inspect

import pytest

from tracekit._frozen import Frozen, frozen


@frozen
class _Ours(Frozen):
    """As the settings are made."""

    name: str
    tags: dict[str, int] = dataclasses.field(hash=False, default_factory=dict)
    note: str = dataclasses.field(default="", compare=False)


@dataclasses.dataclass(frozen=True)
class _Theirs:
    """The same by the standard library alone."""

    name: str
    tags: dict[str, int] = dataclasses.field(hash=False, default_factory=dict)
    note: str = dataclasses.field(default="", compare=False)


ARGUMENTS = [
    (("a",), {}),
    (("a", {"b": 1}, "c"), {}),
    ((), {"name": "a", "note": "n"}),
    ((), {}),
    (("a",), {"name": "b"}),
    (("a", {}, "", 4), {}),
    (("a",), {"other": 1}),
]


def _made(kind, arguments):
    given, named = arguments
    try:
        return kind(*given, **named)
    except TypeError:
        return TypeError


@pytest.mark.parametrize("arguments", ARGUMENTS)
def test_one_is_made_as_a_dataclass(arguments):
    """From the same arguments come the same fields, or a ``TypeError`` from both."""
    ours, theirs = _made(_Ours, arguments), _made(_Theirs, arguments)
    if theirs is TypeError:
        assert ours is TypeError
        return
    assert dataclasses.asdict(ours) == dataclasses.asdict(theirs)
    assert repr(ours) == repr(theirs).replace("_Theirs", "_Ours")


@pytest.mark.parametrize("other", ARGUMENTS[:3])
@pytest.mark.parametrize("one", ARGUMENTS[:3])
def test_one_compares_as_a_dataclass(one, other):
    """By the same fields, and what is equal has one hash; neither equals the other's kind."""
    ours = _made(_Ours, one), _made(_Ours, other)
    theirs = _made(_Theirs, one), _made(_Theirs, other)
    assert (ours[0] == ours[1]) is (theirs[0] == theirs[1])
    assert (hash(ours[0]) == hash(ours[1])) is (hash(theirs[0]) == hash(theirs[1]))
    assert ours[0] != theirs[0]


def test_one_cannot_be_changed():
    """Only ``replace`` gives another value, and only as another object."""
    ours = _Ours("a")
    with pytest.raises(dataclasses.FrozenInstanceError):
        ours.name = "b"
    with pytest.raises(dataclasses.FrozenInstanceError):
        del ours.name
    assert dataclasses.replace(ours, name="b") == _Ours("b")
    assert ours.name == "a"


def test_its_signature_names_the_fields():
    """Editors show them; a factory stands for the default that it makes."""
    ours, theirs = (inspect.signature(kind).parameters for kind in (_Ours, _Theirs))
    assert [*ours] == [*theirs]
    assert ours["note"] == theirs["note"]
    assert ours["name"] == theirs["name"]
    assert ours["tags"].default is dict


def test_an_error_shows_no_value():
    """A field may hold a secret."""
    with pytest.raises(TypeError, match="other") as caught:
        _Ours("a", other="s3cret")
    assert "s3cret" not in str(caught.value)
