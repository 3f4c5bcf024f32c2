"""How a process ends, and what tracekit does about it: exit, signals, children without ``atexit``.

Nothing here shuts tracing down on a signal. As PID 1 of a container a program may live on after
a SIGTERM, so the handler sends what is queued and then gives way to whatever was there before.
"""

from __future__ import annotations

import _thread
import contextlib
import errno
import logging
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, ClassVar

from tracekit._display import quoted
from tracekit._process.farewell import end_before_leaving, tell_ended
from tracekit._process.undisturbed import undisturbed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from types import FrameType

_log = logging.getLogger("tracekit")

_AFTER_ALL_OTHERS = -1_000
"""Exit priority among multiprocessing's finalizers: users' own may still end spans."""
_MAX_SAYING_S = 0.1


class DrainingHandler:
    """A signal handler that drains and then does what the signal would have done.

    ``drain`` is bounded in time and takes no lock that the interrupted code may hold.
    """

    def __init__(self, signum: int, drain: Callable[[], object]) -> None:
        self._drain = drain
        self._previous = signal.getsignal(signum)
        self._at_it = False

    def install(self, signum: int) -> None:
        """Take the signal; ``ValueError`` outside the main thread (as ``signal.signal``)."""
        signal.signal(signum, self)
        if self._previous is signal.SIG_DFL:
            _at_forks.hold(signum)

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        """Drain, give way; come back when the signal turned out to do nothing.

        Supervisors that signal a process and its group deliver twice: the first one gives way
        for both. In an event loop of green threads nothing may wait, so one of them serves.
        """
        if self._at_it:
            return
        self._at_it = True
        if not _on_a_green_thread(lambda: self._serve(signum, None), frame):
            self._serve(signum, frame)

    def _serve(self, signum: int, frame: FrameType | None) -> None:
        raised: BaseException | None = None
        try:
            undisturbed(self._drain)
        except Exception as error:
            say(
                "spans could not be sent on signal %d: %s: %s",
                signum,
                type(error).__name__,
                quoted(error),
            )
        except BaseException as interrupt:
            raised = interrupt
        finally:
            self._at_it = False
        previous = self._previous
        if callable(previous):
            previous(signum, frame)
        elif previous is signal.SIG_DFL:
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)
            # Still here: PID 1 without a handler is not killed by a signal from inside its
            # container, and the default of some signals is to do nothing. Be ready for the next.
            self.install(signum)
        if raised is not None:
            raise raised


class _HeldAtForks(threading.local):
    """Signals that wait while their thread forks.

    Python forgets, in a child, what came before it was ready to run handlers. A signal that kills
    where nobody handles it has to kill such a child as well: who forks and ends workers (a pool
    of multiprocessing) waits for them. Signals that the program handled before lose nothing.
    """

    signums: ClassVar[set[int]] = set()
    blocked: Collection[int] = ()

    def hold(self, signum: int) -> None:
        """From now on, have ``signum`` wait until a fork is done."""
        if not self.signums:
            os.register_at_fork(
                before=self._block, after_in_parent=self._release, after_in_child=self._release
            )
        self.signums.add(signum)

    def _block(self) -> None:
        mine = {n for n in self.signums if isinstance(signal.getsignal(n), DrainingHandler)}
        self.blocked = mine - signal.pthread_sigmask(signal.SIG_BLOCK, mine)

    def _release(self) -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self.blocked)


_at_forks = _HeldAtForks()


def say(message: str, *args: object) -> None:
    """Log a warning from a signal handler: on a thread of its own, and wait a moment only.

    The code that the signal interrupted may hold the lock of a log handler, or of ``threading``.
    """
    # In a loop of green threads nothing may wait: the signal matters more than the message.
    with contextlib.suppress(Exception):
        said = aside(lambda: _log.warning(message, *args))
        if said is not None:
            said.acquire(timeout=_MAX_SAYING_S)


def aside(work: Callable[[], object]) -> _thread.LockType | None:
    """Do ``work`` on a thread of its own; return a lock that can be acquired when it is done.

    None when no thread can be started: the interpreter is about to end.
    """
    done = _thread.allocate_lock()
    done.acquire()

    def run() -> None:
        try:
            work()
        finally:
            done.release()

    try:
        _thread.start_new_thread(run, ())
    except RuntimeError:
        return None
    return done


def _on_a_green_thread(serve: Callable[[], None], frame: FrameType | None) -> bool:
    """Have a green thread ``serve`` if this runs inside gevent's or eventlet's loop."""
    gevent = sys.modules.get("gevent")
    if gevent is not None and gevent.getcurrent() is gevent.get_hub():
        gevent.spawn(serve)
        return True
    hubs = sys.modules.get("eventlet.hubs")
    greenlet = sys.modules.get("greenlet")
    if hubs is None or greenlet is None:
        return False
    hub = hubs.get_hub()
    where = "" if frame is None else frame.f_code.co_name
    if greenlet.getcurrent() is not hub.greenlet or where == "wait":
        return False  # in ``wait`` it sleeps, for up to a minute, and cannot be woken
    hub.schedule_call_global(0, greenlet.greenlet(serve).switch)
    if where == "do_poll":
        # It would go on polling for what it knew before. This is how it takes an interruption.
        raise InterruptedError(errno.EINTR, "a green thread serves the signal")
    return True


def _is_handled_by_c(signum: int) -> bool:
    """Return whether C code took the signal behind Python's back, as uWSGI's and Apache's do.

    Python asks for the dispositions once, when it starts; Linux tells what is so now.
    """
    if signal.getsignal(signum) is not signal.SIG_DFL:
        return False
    try:
        with open("/proc/self/status", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - pathlib takes a start 2 ms
            status = file.read()
        caught = int(status.partition("SigCgt:")[2].split(maxsplit=1)[0], 16)
    except (OSError, ValueError, IndexError):
        return False
    return bool(caught >> (signum - 1) & 1)


def drain_on(signum: int, drain: Callable[[], object]) -> None:
    """Drain on ``signum``, then let the handler that is installed now have it.

    Call it after the program has installed its own handler, in the main thread (``ValueError``
    otherwise). A handler that C code installed cannot be called from here and is left alone,
    with a warning. Calling it again for the same signal changes nothing.
    """
    previous = signal.getsignal(signum)
    if previous is None or _is_handled_by_c(signum):
        _log.warning("signal %d is handled outside Python: nothing is sent on it", signum)
    elif not isinstance(previous, DrainingHandler):
        DrainingHandler(signum, drain).install(signum)


def drain_on_sigterm(drain: Callable[[], object]) -> None:
    """Drain on SIGTERM if that would end this program: it has no handler of its own."""
    drain_by_default(signal.SIGTERM, drain)


def drain_by_default(signum: int, drain: Callable[[], object]) -> None:
    """Drain on ``signum`` if nobody handles it; outside the main thread this does nothing."""
    if signal.getsignal(signum) is signal.SIG_DFL and not _is_handled_by_c(signum):
        # ValueError: this is not the main thread of the main interpreter. Asking ``threading``
        # instead would not do: under eventlet it takes the main thread for another one.
        with contextlib.suppress(ValueError):
            drain_on(signum, drain)


def on_first_span(end: Callable[[], object]) -> None:
    """See to this process' end, once its first span is there; called once per process.

    ``end`` may be called in a child that was forked later: it ends what is that child's own.
    Children of multiprocessing leave by ``os._exit`` and never run ``atexit``; their finalizers do
    run. Workers of Celery's pool do not even run those: Celery's own signal tells of their end.
    For all other children ``os._exit`` itself does.
    """

    def end_and_tell() -> None:
        end()
        tell_ended()

    end_before_leaving(end_and_tell)
    for package in ("multiprocessing", "billiard"):  # the second is Celery's copy of the first
        process = sys.modules.get(f"{package}.process")
        finalizers = sys.modules.get(f"{package}.util")
        if process is None or finalizers is None:
            continue
        if getattr(process.current_process(), "_parent_pid", None) is not None:
            finalizers.Finalize(None, end_and_tell, exitpriority=_AFTER_ALL_OTHERS)
    celery = sys.modules.get("celery.signals")
    if celery is not None:
        # Forked workers inherit the connection: the same ``end`` is connected once.
        celery.worker_process_shutdown.connect(
            lambda **_told: end_and_tell(), weak=False, dispatch_uid=f"tracekit-{id(end)}"
        )
    _warn_about_uwsgi()


_warned: list[str] = []
"""Of what; a fork inherits it, so a server with a hundred workers says it once."""


def _warn_about_uwsgi() -> None:
    options = getattr(sys.modules.get("uwsgi"), "opt", None)
    if not isinstance(options, dict) or "uwsgi" in _warned:
        return
    # Bytes or text, by its version. (Both in one set would be compared, which ``-bb`` forbids.)
    names = {each.decode("latin-1") if isinstance(each, bytes) else each for each in options}
    if not names & {"enable-threads", "threads"}:
        _warned.append("uwsgi")
        _log.warning(
            "uWSGI runs without threads: spans are sent only at flush and at exit;"
            " start it with --enable-threads"
        )
