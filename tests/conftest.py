"""What every test shares: a busy machine is no failure, and neither is a shell's background."""

from __future__ import annotations

import signal

from hypothesis import settings

settings.register_profile("tracekit", deadline=None)  # a stopwatch would judge the machine
settings.load_profile("tracekit")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts ``make test &`` like this, and the programs that tests interrupt inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
