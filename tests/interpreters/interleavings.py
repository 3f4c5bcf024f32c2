"""Every order in which threads without a GIL could take the steps of some code of ours.

The code itself runs, on real threads, of which one moves at a time: by one byte code that reads or
changes something shared. That is how finely a free-threaded build divides code, where operations
of its dictionaries, lists, deques and counters are whole, too. What it leaves out is memory that
threads see in different orders; the interpreter's own locks and stores order what we use.

An order is a list of preemptions: at which step another thread goes on. Without a bound all orders
are tried; with one, all that have so many preemptions at most. (Races need few: a bound of two has
found nearly all that were ever found by others who search like this.)
"""

from __future__ import annotations

import dis
import functools
import sys
import threading
from pathlib import Path
from unittest import mock

import tracekit

SHARED = ("ATTR", "METHOD", "SUBSCR", "SLICE", "CALL", "FOR_ITER", "CONTAINS", "BINARY", "INPLACE")
PACKAGE = Path(tracekit.__file__).parent
DIVIDED = {
    str(Path(__file__).with_name("test_interleavings.py")),
    *(str(PACKAGE / "tracing" / name) for name in ("_span.py", "_locked_span.py", "_life.py")),
    *(str(PACKAGE / name) for name in ("_process/tally.py", "reporting/_queue.py")),
    str(PACKAGE / "sampling" / "_limiter.py"),
}
"""The modules that say of themselves what their steps rest on; the others take theirs whole."""
SOON = 30.0


class ModelLock:
    """Stands for ``threading.RLock``: who has to wait for it lets the others go on."""

    def __init__(self, orders):
        self._orders = orders
        self._owner = None
        self._depth = 0

    def acquire(self):
        me = threading.get_ident()
        while self._owner not in (None, me):
            self._orders.pause(waits_for=self)
        self._owner = me
        self._depth += 1
        return True

    def release(self):
        self._depth -= 1
        if not self._depth:
            self._owner = None
        self._orders.pause()

    @property
    def free(self):
        return self._owner is None

    __enter__ = acquire

    def __exit__(self, *error):
        self.release()


class Orders:
    """Runs ``works`` once, each on its thread, in the order that ``preemptions`` say."""

    def __init__(self, works, preemptions):
        self._preemptions = dict(preemptions)
        self._back = threading.Semaphore(0)
        self._go = [threading.Semaphore(0) for _ in works]
        self._waits_for = [None for _ in works]
        self._number = threading.local()
        self._left = set(range(len(works)))
        self._raised = []
        self._threads = [
            threading.Thread(target=self._run, args=(number, work), daemon=True)
            for number, work in enumerate(works)
        ]
        self.steps = []
        """Who could have gone on at each step, and who did."""

    def pause(self, waits_for=None):
        number = getattr(self._number, "now", None)
        if number is None:  # after the works, the test itself
            return
        self._waits_for[number] = waits_for
        self._back.release()
        assert self._go[number].acquire(timeout=SOON)

    def _run(self, number, work):
        assert self._go[number].acquire(timeout=SOON)
        self._number.now = number
        sys.settrace(self._enter)
        try:
            work()
        except BaseException as error:
            self._raised.append(error)
        finally:
            sys.settrace(None)
            self._left.discard(number)
            self._back.release()

    def _enter(self, frame, event, argument):
        if frame.f_code.co_filename not in DIVIDED:
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self._step

    def _step(self, frame, event, argument):
        if event == "opcode":
            name = dis.opname[frame.f_code.co_code[frame.f_lasti]]
            if any(part in name for part in SHARED):
                self.pause()
        return self._step

    def run(self):
        with mock.patch.object(threading, "RLock", functools.partial(ModelLock, self)):
            self._take_steps()
        if self._raised:
            raise self._raised[0]

    def _take_steps(self):
        for thread in self._threads:
            thread.start()
        now = 0
        while self._left:
            ready = {
                each
                for each in self._left
                if self._waits_for[each] is None or self._waits_for[each].free
            }
            assert ready, "a deadlock"
            now = self._preemptions.get(len(self.steps), now)
            if now not in ready:
                now = min(ready)
            self.steps.append((ready, now))
            self._go[now].release()
            assert self._back.acquire(timeout=SOON)
        for thread in self._threads:
            thread.join(SOON)


def explore(scenario, *, most=None):
    """Try the orders of ``scenario()``, a list of works and a check; return how many there were.

    The first order whose check or work raises is named in a note of what it raised.
    """
    tried = 0
    plans = [()]
    while plans:
        plan = plans.pop()
        works, check = scenario()
        orders = Orders(works, plan)
        try:
            orders.run()
            check()
        except AssertionError as error:
            raise AssertionError(f"{error}\nin the order {plan} of {orders.steps}") from error
        tried += 1
        if most is None or len(plan) < most:
            first = plan[-1][0] + 1 if plan else 0
            plans += [
                (*plan, (step, other))
                for step in range(first, len(orders.steps))
                for other in orders.steps[step][0] - {orders.steps[step][1]}
            ]
    return tried
