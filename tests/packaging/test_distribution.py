"""The distribution: what it is called, wherever that is said, and a stranger beside it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tracekit._assembly.distribution import DISTRIBUTION

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it

ROOT = Path(__file__).parents[2]
TEXTS = [
    path
    for top in ("README.md", "docs", "tracekit", "examples")
    for path in ([ROOT / top] if (ROOT / top).is_file() else sorted((ROOT / top).rglob("*")))
    if path.suffix in (".md", ".py")
]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_install_hint_names_ours(path):
    """The name ``tracekit`` is somebody else's: a hint that names it would bring his."""
    told = path.read_text()
    assert re.findall(r"""\binstall\b[^\n`]*?[\s'"`]tracekit(?=[\s'"`\[]|$)""", told) == []
    assert re.findall(r"\btracekit\[", told) == []


def test_extras_and_groups_name_ours():
    """So does what the project asks of itself."""
    assert PROJECT["project"]["name"] == DISTRIBUTION
    extras = PROJECT["project"]["optional-dependencies"]
    lines = [line for each in extras.values() for line in each]
    lines += [line for each in PROJECT["dependency-groups"].values() for line in each]
    of_ours = {name for line in lines if (name := re.split(r"[^\w.-]", line)[0])[:8] == "tracekit"}
    assert of_ours == {DISTRIBUTION}
    assert DISTRIBUTION in PROJECT["tool"]["uv"]["sources"]


def test_every_extra_that_is_named_is_there():
    """``pip install 'tracekit-jaeger[nonsense]'`` would only warn, and install too little."""
    extras = PROJECT["project"]["optional-dependencies"].keys()
    named = {
        extra.strip()
        for path in TEXTS
        for found in re.findall(r"(?:tracekit-jaeger|[' ]\.)\[([\w, -]+)\]", path.read_text())
        for extra in found.split(",")
    }
    assert named <= extras


def _said_at_init(directory):
    program = "import tracekit; tracekit.init('a', set_global=False); tracekit.init('b')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ
        | {
            "PYTHONPATH": os.pathsep.join((str(ROOT), str(directory))),
            "JAEGER_SAMPLER_TYPE": "const",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stderr


def _install(directory, files):
    info = directory / "tracekit-1.2.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tracekit\nVersion: 1.2.3\n")
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    for file in files:  # from 3.13 on, what is recorded and not there is not told
        (directory / file).parent.mkdir(exist_ok=True)
        (directory / file).touch()


def test_a_stranger_is_told_once(tmp_path):
    """The other project of that name is named with its version and the way out."""
    _install(tmp_path, ["tracekit/__init__.py", "tracekit/wave.py"])
    said = _said_at_init(tmp_path)
    assert said.count("'tracekit' 1.2.3") == 1
    assert "pip uninstall tracekit" in said


def test_a_name_alone_is_no_stranger(tmp_path):
    """The name alone harms nobody: an editable install of old leaves no such file."""
    _install(tmp_path, ["__editable__.tracekit.pth"])
    assert "1.2.3" not in _said_at_init(tmp_path)


TWINE = ROOT / ".build" / "tools" / "bin" / "twine"


@pytest.mark.integration
def test_an_index_takes_the_distributions(tmp_path):
    """Wheel and source are built, and ``twine check --strict`` has nothing to say."""
    if not TWINE.exists():
        pytest.skip("twine is not installed: make .build/tools/.tried")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        timeout=120,
        check=True,
    )
    built = sorted(tmp_path.iterdir())
    assert [path.name.split("-")[0] for path in built] == ["tracekit_jaeger"] * 2
    checked = subprocess.run(
        [TWINE, "check", "--strict", *built],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
