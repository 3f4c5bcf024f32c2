"""Whether a socket's descriptor is still the socket's.

A program may close descriptors that it has not opened (``os.closerange``, a daemon's first act)
and open others under their numbers. What is sent there then would reach its files and peers, and
to close the socket would close those.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket


class Owned:
    """Remembers which file of the kernel's a socket was when it was made."""

    def __init__(self, made: socket.socket) -> None:
        self.socket = made
        self._file = _file_of(made)

    @property
    def is_ours(self) -> bool:
        """Whether the descriptor still is what it was; where nobody can tell, True."""
        return self._file is None or _file_of(self.socket) == self._file

    def close(self) -> None:
        """Close the socket, or only forget its descriptor if that is somebody else's by now."""
        if self.is_ours:
            self.socket.close()
        else:
            self.socket.detach()


def _file_of(opened: socket.socket) -> tuple[int, int] | None:
    try:
        status = os.fstat(opened.fileno())
    except (OSError, ValueError):  # closed; or Windows, whose sockets are no files
        return None
    return status.st_dev, status.st_ino
