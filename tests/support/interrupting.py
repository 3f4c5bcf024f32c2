"""An exception at each place where CPython could run a signal handler, one place a run."""

from __future__ import annotations

import dis
import itertools

_seen = {}
"""By the id of a code object: itself, and the offsets of the steps before which a signal is seen.

To hash the code object itself would take longer than all else, and there is one look a step.
"""


class Interrupt(BaseException):
    """What a signal handler raises."""


class Interrupting:
    """A trace function that raises at the ``place``-th point where a signal could be seen.

    CPython runs signal handlers after calls, at jumps back and on entry of a function: here, of
    the functions in the files ``checked``. With None as ``place`` it counts these points.
    """

    checked = frozenset()
    error = Interrupt

    def __init__(self, place):
        self.place = place
        self.passed = 0

    def __call__(self, frame, event, _arg):
        if frame.f_code.co_filename not in self.checked:
            return None
        if event == "call":
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
            self._pass()
        elif event == "opcode" and frame.f_lasti in _after_calls(frame.f_code):
            self._pass()
        return self

    def _pass(self):
        self.passed += 1
        if self.passed == self.place:
            raise self.error


def _after_calls(code):
    known = _seen.get(id(code))
    if known is None:
        known = _seen[id(code)] = (code, set())
        for step, after in itertools.pairwise(dis.get_instructions(code)):
            if step.opname.startswith("CALL") and "INTRINSIC" not in step.opname:
                known[1].add(after.offset)
            elif step.opname.startswith("JUMP_BACKWARD") or step.opname == "JUMP_ABSOLUTE":
                known[1].add(step.argval)
    return known[1]
