"""Work that no signal handler cuts short, wherever the signal comes."""

from __future__ import annotations

import signal
import sys

import pytest

from tests.reporting.test_interrupts import Interrupting
from tracekit._process import undisturbed


class Signalling(Interrupting):
    """Has the signal's handler run where CPython could run it."""

    checked = frozenset({undisturbed.__file__})

    def _pass(self):
        self.passed += 1
        if self.passed == self.place:
            handler = signal.getsignal(signal.SIGUSR1)
            sys.settrace(None)
            handler(signal.SIGUSR1, None)


@pytest.mark.skipif(sys.gettrace() is not None, reason="a debugger or coverage traces already")
def test_the_work_is_done_once_wherever_a_signal_comes():
    """And what the handler raised is raised, when it is done; the handler is back in its place."""

    def exits(*_):
        raise SystemExit(3)

    def lives(signalling):
        done = []
        raised = False
        signal.signal(signal.SIGUSR1, exits)
        sys.settrace(signalling)
        try:
            undisturbed.undisturbed(lambda: done.append(True))
        except SystemExit:
            raised = True
        finally:
            sys.settrace(None)
        restored = signal.getsignal(signal.SIGUSR1) is exits
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        return done, raised, restored

    counting = Signalling(None)
    assert lives(counting) == ([True], False, True)
    assert counting.passed > 50
    for place in range(2, counting.passed + 1):  # the first is at the door
        signalling = Signalling(place)
        done, raised, _ = lives(signalling)
        assert (done, raised) == ([True], signalling.passed >= place), place
