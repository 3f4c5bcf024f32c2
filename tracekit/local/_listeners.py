"""Who listens on a port of this machine, as far as Linux tells us."""

from __future__ import annotations

import re
from pathlib import Path

_MAX_PROCESSES = 5_000
_LISTENING = {"tcp": "0A", "udp": "07"}
"""States in /proc/net: LISTEN, and UDP's only one (TCP_CLOSE)."""


def who_listens(network: str, port: int, proc: Path = Path("/proc")) -> str | None:
    """Return name and id of the process that has ``port`` (``tcp`` or ``udp``); None if unknown.

    Processes of other users are seen by root alone; systems without /proc tell nothing.
    """
    try:
        sockets = {f"socket:[{inode}]" for inode in _inodes(network, port, proc)}
        pids = [entry.name for entry in proc.iterdir() if entry.name.isdecimal()]
    except OSError:
        return None
    for pid in pids[:_MAX_PROCESSES] if sockets else ():
        if _has(proc / pid / "fd", sockets):
            return f"{_name(proc / pid)} (process {pid})"
    return None


def _inodes(network: str, port: int, proc: Path) -> set[str]:
    """Return the sockets that listen on a port: ``sl local remote state … inode`` a line."""
    found = set()
    for version in ("", "6"):
        try:
            lines = (proc / "net" / f"{network}{version}").read_text("ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[1].endswith(f":{port:04X}") and fields[3] == _LISTENING[network]:
                found.add(fields[9])
    return found


def _has(folder: Path, sockets: set[str]) -> bool:
    try:
        return any(str(entry.readlink()) in sockets for entry in folder.iterdir())
    except OSError:  # another user's, or it has just ended
        return False


def _name(folder: Path) -> str:
    try:
        name = (folder / "comm").read_text("utf-8", "replace").strip()
    except OSError:
        return "a process"
    return re.sub(r"[^ -~]", "?", name)[:40]
