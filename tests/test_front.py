"""The front of the package: a lazy table of contents."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest

import tracekit


def test_importing_loads_nothing():
    """Of the package or OpenTelemetry: a plugin or launcher may import the front in any process."""
    program = (
        "import sys, tracekit\n"
        "loaded = {m.partition('.')[0] for m in sys.modules}\n"
        "print(sorted(m for m in sys.modules if m.startswith('tracekit')), "
        "'opentelemetry' in loaded)"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert shown.stdout.decode().strip() == "['tracekit'] False"


@pytest.mark.parametrize("name", tracekit.__all__)
def test_every_name_of_the_front_is_listed(name):
    """What ``__all__`` says can be had, and ``dir`` shows it."""
    assert getattr(tracekit, name) is getattr(tracekit, name)
    assert name in dir(tracekit)


def test_completion_offers_what_is_public():
    """Besides names of the language and what begins with an underscore: the front and modules."""
    shown = {name for name in dir(tracekit) if not name.startswith("_")}
    modules = {name for name in shown if isinstance(getattr(tracekit, name), ModuleType)}
    assert shown - modules == set(tracekit.__all__)
    assert "__version__" in dir(tracekit)


def test_the_table_and_the_list_agree():
    """A name cannot be added to one alone."""
    assert set(tracekit._HOMES) == set(tracekit.__all__)


def test_absent_names_are_attribute_errors():
    """``hasattr`` and ``from tracekit import …`` work as with any module."""
    assert not hasattr(tracekit, "inti")
    with pytest.raises(ImportError):
        exec("from tracekit import inti")
