"""Programs that are built with Go, once, and kept in the user's cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tracekit-interop"


class Missing(Exception):  # noqa: N818 - no error: a fact about the machine
    """A program that cannot be had here."""


def of_source(workshop: Path, source: Path, package: str = ".") -> Path:
    """Return a program of a module of ours, built anew when its source has changed.

    ``package`` is the module's own, or one of its tools.
    """
    name = (source.name if package == "." else package.rpartition("/")[2]).replace("_", "-")
    files = sorted(source.iterdir())
    digest = hashlib.sha256(b"".join(each.read_bytes() for each in files)).hexdigest()[:12]
    target = CACHE / f"{name}-{digest}"
    if not target.exists():
        for old in CACHE.glob(f"{name}-{'[0-9a-f]' * 12}"):
            old.unlink()
        build = ["build", "-ldflags=-s -w", "-o", f"{workshop}/bin/", package]
        go(workshop, target, build, source)
    return target


def go(workshop: Path, target: Path, arguments: list[str], folder: Path | None = None) -> None:
    """Run Go in ``workshop``, whose modules and cache the next build may use as well."""
    program = shutil.which("go")
    if program is None:
        raise Missing("Go is not installed")
    made = workshop / "bin"
    made.mkdir(exist_ok=True)
    env = os.environ | {
        "GOBIN": str(made),
        "GOMODCACHE": f"{workshop}/modules",
        "GOCACHE": f"{workshop}/cache",
        "GOFLAGS": "-p=2 -trimpath -modcacherw",
        "CGO_ENABLED": "0",
    }
    built = subprocess.run(
        [program, *arguments],
        cwd=folder or workshop,
        env=env,
        capture_output=True,
        text=True,
        timeout=2400,
        check=False,
    )
    assert built.returncode == 0, built.stderr[-2000:]
    (program,) = made.iterdir()
    program.replace(target)
