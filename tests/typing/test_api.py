"""The typed surface: what type checkers accept and reject, and settings that are all typed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tracekit._config.fields import NamedSettingsFields, SettingsFields
from tracekit._config.schema import SETTINGS

ROOT = Path(__file__).parents[2]
API = Path(__file__).with_name("api.py")
PYRIGHT = ROOT / ".build" / "tools" / "bin" / "pyright"
WRONG = {
    number
    for number, line in enumerate(API.read_text().splitlines(), 1)
    if re.search(r"# error\b", line)
}
pytestmark = pytest.mark.integration


def test_every_setting_is_a_typed_argument():
    """The typed fields are the rows of the table; two of those are arguments of their own."""
    assert set(SettingsFields.__annotations__) | {"transport", "service_name"} == set(SETTINGS)
    named = set(NamedSettingsFields.__annotations__) | set(SettingsFields.__annotations__)
    assert named == set(SETTINGS) - {"transport"}


@pytest.mark.parametrize("name", sorted(SettingsFields.__annotations__))
def test_a_default_has_the_type_that_is_told(name):
    """What a setting is when nobody says anything, one may say."""
    default, told = SETTINGS[name].default, str(SettingsFields.__annotations__[name])
    kinds = {bool: "bool", int: "int", float: "float", str: "str", tuple: "Sequence"}
    kind = kinds.get(type(default), "None" if default is None else "Mapping")
    assert kind in told


def _rejected(command):
    """Return the lines of the program that a checker complains about, and all that it says."""
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )
    said = done.stdout + done.stderr
    return {int(n) for n in re.findall(r"api\.py:(\d+):(?:\d+ -| )\s*error", said)}, said


@pytest.mark.timeout(600)
def test_mypy_finds_the_marked_errors():
    """Under ``--strict``, exactly the marked lines are errors."""
    pytest.importorskip("mypy", reason="the group `types` is not installed")
    rejected, said = _rejected(
        [sys.executable, "-m", "mypy", "--strict", "--no-warn-unused-ignores", str(API)]
    )
    assert rejected == WRONG, said


@pytest.mark.timeout(600)
def test_pyright_finds_the_marked_errors():
    """So are they under Pyright, where it is installed (``make .build/tools/.tried``)."""
    if not PYRIGHT.exists():
        pytest.skip("pyright is not installed: make .build/tools/.tried")
    rejected, said = _rejected([str(PYRIGHT), "--pythonpath", sys.executable, str(API)])
    if not rejected and "error" in said and "nodeenv" in said:
        pytest.skip("pyright finds no Node.js")
    assert rejected == WRONG, said
