"""The build's one optional step: compile the native frames where a C compiler is.

Without a compiler, or when it fails, the pure wheel is built and works. ``TRACEKIT_BUILD_NATIVE``
is ``auto`` (the default), ``0`` (never) or ``1`` (a failure is one: for releases).
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = Path("tracekit", "encoding", "_frames.c")
TARGET = SOURCE.with_suffix(".abi3.so")  # the limited API of 3.10: one binary for all later ones


class NativeFrames(BuildHookInterface):  # type: ignore[misc] # hatchling brings no types
    """Compiles one file into the tree and tells the wheel about it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile before a wheel (also an editable one) is put together."""
        wanted = os.environ.get("TRACEKIT_BUILD_NATIVE", "auto")
        problem = "it is switched off" if wanted == "0" else _cannot() or self._compile()
        if problem:
            if version != "editable" or wanted == "0" or not self._is_current():
                Path(self.root, TARGET).unlink(missing_ok=True)  # an old one would be taken along
            if wanted == "1":
                raise RuntimeError(f"the native frames were not built: {problem}")
            self.app.display_info(f"tracekit is built without native frames: {problem}")
            return
        build_data["pure_python"] = False
        build_data["artifacts"].append(TARGET.as_posix())
        tag = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"cp310-abi3-{tag}"

    def _is_current(self) -> bool:
        """Return whether another interpreter, with which the tree is shared, has built it since."""
        source, target = Path(self.root, SOURCE), Path(self.root, TARGET)
        return target.exists() and target.stat().st_mtime >= source.stat().st_mtime

    def _compile(self) -> str:
        """Compile; return what went wrong, or nothing."""
        compiler = _compiler()
        if compiler is None:
            return "there is no C compiler"
        shared = (
            ["-bundle", "-undefined", "dynamic_lookup"] if sys.platform == "darwin" else ["-shared"]
        )
        flags = shlex.split(os.environ.get("CFLAGS", "")) + shlex.split(
            os.environ.get("LDFLAGS", "")
        )
        target = Path(self.root, TARGET)
        made = target.with_name(f"{target.name}.{os.getpid()}")
        command = [*compiler, *shared, "-fPIC", "-O2", "-DNDEBUG", "-fvisibility=hidden", *flags]
        command += [
            "-I",
            sysconfig.get_path("include"),
            str(Path(self.root, SOURCE)),
            "-o",
            str(made),
        ]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)  # noqa: S603
        except (OSError, subprocess.SubprocessError) as error:
            return str(error)
        if done.returncode:
            made.unlink(missing_ok=True)
            return done.stderr.strip()[-2000:] or f"{compiler[0]} failed"
        made.replace(target)  # whoever has loaded the old one keeps it
        return ""


def _cannot() -> str:
    """Return why this interpreter or system is not built for."""
    if platform.python_implementation() != "CPython":
        return "the interpreter is not CPython"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "the limited API is not there without the GIL"
    if os.name != "posix":
        return "the system is not POSIX"
    return ""


def _compiler() -> list[str] | None:
    """Return the command of a C compiler: ``CC``, the one Python was built with, or ``cc``."""
    built_with = sysconfig.get_config_var("CC") or ""
    for command in (os.environ.get("CC", ""), "cc", built_with, "gcc", "clang"):
        words = shlex.split(command)
        if words and shutil.which(words[0]):
            return words
    return None
