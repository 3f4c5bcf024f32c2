"""The front of the package: a lazy table of contents."""

from __future__ import annotations

import subprocess
import sys

import pytest

import tracekit


def test_importing_the_package_loads_nothing_of_it_and_no_opentelemetry():
    """A plugin or launcher may import the front in every process."""
    program = (
        "import sys, tracekit\n"
        "loaded = {m.partition('.')[0] for m in sys.modules}\n"
        "print(sorted(m for m in sys.modules if m.startswith('tracekit')), "
        "'opentelemetry' in loaded)"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert shown.stdout.decode().strip() == "['tracekit'] False"


@pytest.mark.parametrize("name", tracekit.__all__)
def test_every_name_of_the_front_is_there_and_listed(name):
    """What ``__all__`` says can be had, and ``dir`` shows it."""
    assert getattr(tracekit, name) is getattr(tracekit, name)
    assert name in dir(tracekit)


def test_the_table_of_homes_and_the_list_of_names_agree():
    """A name cannot be added to one alone."""
    assert set(tracekit._HOMES) == set(tracekit.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error():
    """``hasattr`` and ``from tracekit import …`` work as with any module."""
    assert not hasattr(tracekit, "inti")
    with pytest.raises(ImportError):
        exec("from tracekit import inti")
