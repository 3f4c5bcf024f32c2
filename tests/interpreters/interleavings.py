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

import contextlib
import dis
import functools
import sys
import threading
import types
from pathlib import Path
from unittest import mock

import tracekit

SHARED = ("ATTR", "METHOD", "SUBSCR", "SLICE", "CALL", "FOR_ITER", "CONTAINS", "BINARY", "INPLACE")
PACKAGE = Path(tracekit.__file__).parent
DIVIDED = {
    str(Path(__file__).with_name("test_interleavings.py")),
    *(
        str(PACKAGE / "tracing" / name)
        for name in ("_span.py", "_locked_span.py", "_process_state.py")
    ),
    *(
        str(PACKAGE / name)
        for name in ("_process/fork.py", "_process/tally.py", "reporting/_queue.py")
    ),
    str(PACKAGE / "sampling" / "_limiter.py"),
}
"""The modules that say of themselves what their steps rest on; the others take theirs whole."""
SOON = 30.0


if sys.version_info >= (3, 12):
    TOOL = 4

    def codes_of(thing, seen):
        """All code objects of what a module defines."""
        if isinstance(thing, types.CodeType):
            if thing not in seen and thing.co_filename in DIVIDED:
                seen.add(thing)
                for inner in thing.co_consts:
                    codes_of(inner, seen)
        elif isinstance(thing, type):
            for inner in vars(thing).values():
                codes_of(inner, seen)
        elif isinstance(thing, property):
            codes_of(thing.fget, seen)
        elif isinstance(thing, types.FunctionType):
            codes_of(thing.__code__, seen)
        return seen

    @contextlib.contextmanager
    def dividing():
        """Have every byte code of what is divided call the thread's ``step``."""
        monitoring = sys.monitoring
        monitoring.use_tool_id(TOOL, "interleavings")
        modules = [m for m in sys.modules.values() if getattr(m, "__file__", None) in DIVIDED]
        codes = set()
        for module in modules:
            for thing in list(vars(module).values()):
                codes_of(thing, codes)
        for code in codes:
            monitoring.set_local_events(TOOL, code, monitoring.events.INSTRUCTION)
        monitoring.register_callback(
            TOOL,
            monitoring.events.INSTRUCTION,
            lambda *where: stepping.step(*where),  # noqa: PLW0108 - each thread has its own
        )
        try:
            yield
        finally:
            for code in codes:
                monitoring.set_local_events(TOOL, code, 0)
            monitoring.free_tool_id(TOOL)

    class Stepping(threading.local):
        step = staticmethod(lambda code, offset: None)

    stepping = Stepping()

    @contextlib.contextmanager
    def each_byte_code(step):
        """Call ``step(code, offset)`` before each byte code of this thread."""
        stepping.step = step
        yield
        del stepping.step

else:  # there ``sys.monitoring`` is not, and tracing tells of each byte code, which it later forgot
    dividing = contextlib.nullcontext

    @contextlib.contextmanager
    def each_byte_code(step):
        """Call ``step(code, offset)`` before each byte code of this thread."""

        def local(frame, event, argument):
            if event == "opcode":
                step(frame.f_code, frame.f_lasti)
            return local

        def enter(frame, event, argument):
            if frame.f_code.co_filename not in DIVIDED:
                return None
            frame.f_trace_opcodes = True
            frame.f_trace_lines = False
            return local

        sys.settrace(enter)
        try:
            yield
        finally:
            sys.settrace(None)


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
        try:
            with each_byte_code(self._step):
                work()
        except BaseException as error:
            self._raised.append(error)
        finally:
            self._left.discard(number)
            self._back.release()

    def _step(self, code, offset):
        name = dis.opname[code.co_code[offset]]
        if any(part in name for part in SHARED):
            self.pause()

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
    with dividing():
        return _explore(scenario, most)


def _explore(scenario, most):
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
