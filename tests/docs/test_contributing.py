"""The recipes for contributors name what is there, where it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")
RECIPES = dict(re.findall(r"^### (.+)\n\n((?:(?!^#).*\n?)+)", PAGE, re.MULTILINE))
FILE = re.compile(r"`([\w./-]+(?:\.(?:py|md|toml|yml|go|txt|json)|/))`")


def named(recipe):
    """Return the files and folders that a recipe names; later ones lie beside those before."""
    found = []
    for name in FILE.findall(recipe):
        homes = [ROOT, *(path.parent for path in found), *(each for each in found if each.is_dir())]
        there = [home / name for home in reversed(homes) if (home / name).exists()]
        assert there, f"{name} is not there"
        found.append(there[0])
    return found


def text(path):
    files = path.rglob("*.py") if path.is_dir() else [path]
    return "\n".join(each.read_text(encoding="utf-8") for each in files)


@pytest.mark.parametrize("title", RECIPES)
def test_a_recipe_names_what_is_there(title):
    """Each file exists, and each table, class or function stands in a file of the recipe."""
    files = named(RECIPES[title])
    source = "\n".join(map(text, dict.fromkeys(files)))
    names = re.findall(
        r"`(?:tracekit\.)?(\w+(?:\.\w+)*)(?:\(.*?\))?`", FILE.sub("", RECIPES[title])
    )
    last = {name.rpartition(".")[2] for name in names}
    assert {name for name in last if not re.search(rf"\b{name}\b", source)} == set()
