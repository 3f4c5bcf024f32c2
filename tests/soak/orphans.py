"""The processes that a life leaves behind: how each ends, and where one is that does not.

Linux hands orphans to the nearest ancestor that asked for them. So whoever watches lives asks, and
is told the status of each; a process that only nobody has waited for yet is not taken for alive.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def adopt() -> None:
    """Become the parent of all orphans among the descendants of this process."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def statuses(group: int, within_s: float) -> tuple[list[int], bool]:
    """Wait for the orphans of a process group; return their exit codes, and whether all ended."""
    until = time.monotonic() + within_s
    codes = []
    while time.monotonic() < until:
        try:
            pid, status = os.waitpid(-group, os.WNOHANG)
        except ChildProcessError:
            return codes, True
        if pid:
            codes.append(os.waitstatus_to_exitcode(status))
        else:
            time.sleep(0.02)
    return codes, False


def give_up(group: int) -> str:
    """Say where the processes of a group are, have them say so themselves, and end them."""
    where = "\n".join(_where(pid) for pid in _members(group))
    for number, wait_s in ((signal.SIGUSR1, 0.5), (signal.SIGKILL, 0)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, number)
        time.sleep(wait_s)
    return where


def _members(group: int) -> list[int]:
    pids = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
            if int(fields[2]) == group:
                pids.append(int(stat.parent.name))
    return pids


def _where(pid: int) -> str:
    """Return what Linux tells of a process' threads, and their stacks if there is py-spy."""
    lines = []
    for thread in Path(f"/proc/{pid}/task").glob("*"):
        with contextlib.suppress(OSError):
            state = (thread / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
            call = (thread / "syscall").read_text().strip()
            name = (thread / "comm").read_text(errors="replace").strip()
            lines.append(f"{pid}/{thread.name} {name} {state}, system call {call}")
    beside = Path(sys.prefix).parent / "spy" / "bin" / "py-spy"
    spy = shutil.which("py-spy") or (str(beside) if beside.exists() else None)
    if spy is not None:
        dump = subprocess.run(
            [spy, "dump", "--native", "--pid", str(pid)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        lines += [dump.stdout, dump.stderr]
    return "\n".join(lines)
