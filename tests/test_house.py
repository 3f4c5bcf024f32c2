"""The size of the house: modules that one sitting reads, tests whose names a line holds."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODULE_LINES = 350
TEST_NAME = 40

Test = ast.FunctionDef | ast.AsyncFunctionDef


@functools.cache
def suite() -> dict[str, Test]:
    """Return every test, by where it begins."""
    return {
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}": node
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, Test) and node.name.startswith("test_")
    }


def test_a_module_can_be_read_in_one_sitting() -> None:
    """What grows beyond 350 lines is about two things: take one of them out."""
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in sorted((ROOT / "tracekit").rglob("*.py"))
    }
    assert {path: lines for path, lines in lengths.items() if lines > MODULE_LINES} == {}


def test_a_test_has_a_short_name() -> None:
    """Up to 40 letters: the sentence belongs into the docstring."""
    assert [at for at, node in suite().items() if len(node.name) > TEST_NAME] == []


def test_a_test_says_what_it_holds() -> None:
    """A docstring states the behaviour, for whoever sees the test fail."""
    assert [at for at, node in suite().items() if not ast.get_docstring(node)] == []
