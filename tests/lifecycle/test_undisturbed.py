"""Work that no signal handler cuts short, wherever the signal comes."""

from __future__ import annotations

import signal
import sys

import pytest
from interrupting import Interrupting

from tracekit._process import undisturbed


class Signalling(Interrupting):
    """Has the signal's handler run where CPython could run it."""

    checked = frozenset({undisturbed.__file__})
    at_the_door = True  # before the first call of what guards the work

    def __call__(self, frame, event, argument):
        if (
            self.place is None or self.passed < self.place
        ) and frame.f_code.co_name == "_postponing":
            self.at_the_door = False
        return super().__call__(frame, event, argument)

    def _pass(self):
        self.passed += 1
        if self.passed == self.place:
            handler = signal.getsignal(signal.SIGUSR1)
            sys.settrace(None)
            handler(signal.SIGUSR1, None)


@pytest.mark.skipif(sys.gettrace() is not None, reason="a debugger or coverage traces already")
def test_work_is_done_once_despite_signals():
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

    # 3.12 and 3.13 tell of a function's instructions from its second run on.
    lives(Signalling(None))
    counting = Signalling(None)
    assert lives(counting) == ([True], False, True)
    assert counting.passed > 50
    for place in range(1, counting.passed + 1):
        signalling = Signalling(place)
        done, raised, _ = lives(signalling)
        if signalling.at_the_door:
            continue
        assert (done, raised) == ([True], signalling.passed >= place), place
