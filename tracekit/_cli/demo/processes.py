"""The demo's services as real processes: started, listened to, ended by their own id."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import tracekit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

START_TIMEOUT_S = 40.0
_END_TIMEOUT_S = 5.0
_LISTENS = re.compile(rb"listening on (\S+:\d+)\n")
_LEASH = str(Path(__file__).with_name("leash.py"))
_OURS = ("JAEGER_", "OTEL_", "TRACEKIT_", "PYTHONSAFEPATH")


class ServiceError(RuntimeError):
    """A service that ended or kept silent instead of listening."""


def examples() -> Path:
    """Return where the examples are: inside the wheel, or beside the package in a checkout."""
    package = Path(tracekit.__file__).parent
    installed = package / "_examples"
    return installed if installed.is_dir() else package.parent / "examples"


class Service:
    """One example in a process of its own, from ``__init__`` to the end of a ``with`` block.

    It ends with this process, too, however that ends.

    ``program`` is a path below ``examples()``; ``variables`` replace what the caller's own
    environment says about tracing, of which the service sees nothing.
    """

    def __init__(
        self, name: str, program: str, arguments: Sequence[str], variables: Mapping[str, str]
    ) -> None:
        self.name = name
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(_OURS)}
        # A proxy for the way out of the company must not be asked for 127.0.0.1.
        local = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the service
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-u", _LEASH, str(examples() / program), "--port", "0", *arguments],
            env={**inherited, **local, **variables, "JAEGER_SERVICE_NAME": name},
            stdin=subprocess.PIPE,
            stdout=self._said,
            stderr=subprocess.STDOUT,
        )

    @property
    def pid(self) -> int:
        """The process' id."""
        return self._process.pid

    def address(self, timeout_s: float = START_TIMEOUT_S) -> str:
        """Wait for the service to listen and return ``host:port``; raise ``ServiceError``."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if found := _LISTENS.search(self._output()):
                return found[1].decode()
            if (status := self._process.poll()) is not None:
                raise ServiceError(f"{self.name} ended with status {status} instead of listening")
            time.sleep(0.02)
        raise ServiceError(f"{self.name} did not listen within {timeout_s:g} s")

    def last_words(self, max_lines: int = 15) -> str:
        """Return the end of what the service wrote."""
        return "\n".join(self._output().decode("utf-8", "replace").splitlines()[-max_lines:])

    def logged(self, trace_id: int) -> list[str]:
        """Return level and message of what it logged within a trace (its log is JSON lines)."""
        messages = []
        for line in self._output().splitlines():
            with contextlib.suppress(ValueError, LookupError, TypeError):  # not a line of the log
                record = json.loads(line)
                if record["trace_id"] == f"{trace_id:032x}":
                    messages.append(f"{record['level']:<7} {record['message']}")
        return messages

    def close(self) -> None:
        """End the process: politely, then for certain. Safe to call twice."""
        with self._process:  # lets go of the leash, too
            self._process.terminate()
            try:
                self._process.wait(_END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._said.close()

    def _output(self) -> bytes:
        # pread: reading must not move the offset at which the process writes.
        descriptor = self._said.fileno()
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
