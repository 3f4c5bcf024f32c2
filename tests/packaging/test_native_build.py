"""The build's optional step: it compiles where it can, and is no failure where it cannot."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
COPIED = ("tracekit", "examples", "pyproject.toml", "hatch_build.py", "README.md", "LICENSE")
HEADER = Path(sysconfig.get_path("include"), "Python.h")
needs_compiler = pytest.mark.skipif(
    shutil.which("cc") is None or not HEADER.exists(),
    reason="no C compiler, or no Python.h, is here",
)


def copied(tmp_path):
    """Return a copy of the tree in which nothing is built."""
    source = tmp_path / "source"
    source.mkdir()
    for name in COPIED:
        given = REPOSITORY / name
        copy = shutil.copytree if given.is_dir() else shutil.copy
        copy(given, source / name)
    for built in (source / "tracekit" / "encoding").glob("*.so*"):
        built.unlink()
    return source


def wheel(tmp_path, **environ):
    """Build a wheel of a copy of the tree; return its name, its files and what was said."""
    source = copied(tmp_path)
    ran = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")],
        cwd=source,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    made = list((tmp_path / "dist").glob("*.whl"))
    if not made:
        return None, [], ran.stdout + ran.stderr
    return made[0].name, zipfile.ZipFile(made[0]).namelist(), ran.stdout + ran.stderr


@needs_compiler
def test_a_compiled_wheel_serves_them_all(tmp_path):
    """One binary with the limited API for every CPython of its platform: tagged abi3."""
    name, files, said = wheel(tmp_path, TRACEKIT_BUILD_NATIVE="1")
    assert "-cp310-abi3-" in str(name), said
    assert "tracekit/encoding/_frames.abi3.so" in files


@pytest.mark.parametrize(
    "environ",
    [
        {"TRACEKIT_BUILD_NATIVE": "0"},
        {"PATH": "/nonexistent"},
        {"CC": "false", "PATH": f"{Path(shutil.which('false') or '/bin/false').parent}"},
    ],
    ids=["switched off", "no compiler", "a compiler that fails"],
)
def test_without_one_the_pure_wheel_is_built(tmp_path, environ):
    """It installs and works everywhere, and the build says why in one line."""
    name, files, said = wheel(tmp_path, **environ)
    assert str(name).endswith("-py3-none-any.whl"), said
    assert not [file for file in files if file.endswith(".so")]
    assert "tracekit/encoding/_frames.c" not in files  # nobody compiles an installed one
    assert "tracekit/local/_static/index.html" in files  # the page of tracekit view
    assert "tracekit/local/_static/main.js" in files


@needs_compiler
def test_a_source_holds_no_binary(tmp_path):
    """What one machine has compiled is no source; who builds a wheel of it compiles anew."""
    source = copied(tmp_path)
    (source / "tracekit" / "encoding" / "_frames.abi3.so").touch()  # of an editable install
    shutil.copy(REPOSITORY / ".gitignore", source)
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path / "dist")],
        cwd=source,
        capture_output=True,
        timeout=120,
        check=True,
    )
    (made,) = (tmp_path / "dist").iterdir()
    with tarfile.open(made) as archive:
        files = [Path(name).name for name in archive.getnames()]
    assert "_frames.c" in files
    assert not [file for file in files if ".so" in file]


BUILD = """
import hatch_build, sys
hatch_build.NativeFrames(".", {}, None, None, "", "").initialize(sys.argv[1], {})
"""


@pytest.mark.parametrize(
    ("version", "age_s", "kept"),
    [("editable", 0, True), ("editable", 60, False), ("standard", 0, False)],
)
def test_interpreters_share_a_trees_binary(tmp_path, version, age_s, kept):
    """An editable install under one without headers takes it from no other, unless it is old."""
    source = copied(tmp_path)
    built = source / "tracekit" / "encoding" / "_frames.abi3.so"
    built.touch()
    written_ns = (source / "tracekit" / "encoding" / "_frames.c").stat().st_mtime_ns
    os.utime(built, ns=(written_ns - age_s * 10**9,) * 2)
    command = [sys.executable, "-c", BUILD, version]
    environ = {**os.environ, "PATH": "/nonexistent", "TRACEKIT_BUILD_NATIVE": "auto"}
    subprocess.run(command, cwd=source, env=environ, check=True, timeout=120)
    assert built.exists() is kept


def test_a_required_binary_fails_the_build(tmp_path):
    """Where it is asked for: a release does not ship the pure wheel by accident."""
    name, _, said = wheel(tmp_path, TRACEKIT_BUILD_NATIVE="1", CC="false", PATH="/nonexistent")
    assert name is None
    assert "the native frames were not built" in said


def test_the_binary_is_the_same_to_all():
    """Formats with ``#`` changed in 3.13's headers, of which the limited API does not tell."""
    source = (REPOSITORY / "tracekit" / "encoding" / "_frames.c").read_text(encoding="utf-8")
    assert not re.findall(r"PyArg_\w*Parse\w*|Py_\w*BuildValue", source)
