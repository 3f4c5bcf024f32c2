"""Forks, signals, interrupts and hostile receivers, all at once and at random.

``python tests/soak/fire.py --minutes 60 --seed 1``: programs live for a second or two, one after
the other, two at a time. Each must end in time and, where it can still tell, with every span in one
figure. The seed of a life that went wrong is printed; ``--life SEED`` lives it again.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from accounting import lawful
from faults import FAULTS, wire
from orphans import adopt, give_up, statuses
from otlp_grpc import collecting
from ports import free_port

from tracekit.testing import FakeAgent, FakeCollector

BUDGET_S = 0.5
LIFE = """
import atexit, faulthandler, json, os, random, signal, sys, threading, time
import tracekit
faulthandler.register(signal.SIGUSR1)
dice = random.Random(int(sys.argv[1]))
told = open(sys.argv[2], "a")

def tell():
    for each in (signal.SIGALRM, signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    told.write(json.dumps(tracing.stats().as_dict() | {"forked": forked}) + "\\n")
    told.flush()

forked = False
atexit.register(tell)
tracing = tracekit.init(
    "fire", flush_s=dice.choice([0.01, 0.1, 1]), exit_budget_s=0.5,
    queue_size=dice.choice([50, 1000, 10000]), drop_policy=dice.choice(["newest", "oldest"]),
)

class Interrupt(Exception): pass
def interrupt(*_): raise Interrupt
signal.signal(signal.SIGALRM, interrupt)
if dice.random() < 0.5:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

def work(numbers):
    tracer = tracekit.get_tracer("t")
    while time.monotonic() < end:
        for _ in range(numbers.randrange(200)):
            tracer.start_span("s", attributes={"k": "v" * numbers.randrange(300)}).end()
        if numbers.random() < 0.1:
            tracekit.flush(0.05)
        time.sleep(numbers.random() / 50)

end = time.monotonic() + 0.5 + dice.random()
for _ in range(3):
    numbers = random.Random(dice.random())
    threading.Thread(target=work, args=(numbers,), daemon=True).start()
print("up", flush=True)
children = []
def step():
    global forked, children, end
    if dice.random() < 0.3:
        signal.setitimer(signal.ITIMER_REAL, dice.random() / 100)
    if dice.random() < float(sys.argv[3]) and len(children) < 3 and not forked:
        signal.setitimer(signal.ITIMER_REAL, 0)  # logging's own hooks would not bear it
        pid = os.fork()
        if pid == 0:
            forked, children = True, []
            end = time.monotonic() + 0.3
        else:
            children.append(pid)
    with tracekit.get_tracer("main").start_as_current_span("s"):
        tracekit.stats()
    if dice.random() < 0.2:
        tracekit.flush(dice.random() / 20)
    time.sleep(dice.random() / 100)

running = True
while running:
    try:
        while time.monotonic() < end:
            step()
        signal.setitimer(signal.ITIMER_REAL, 0)
        running = False
    except Interrupt:
        pass
signal.signal(signal.SIGALRM, signal.SIG_IGN)
codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
sys.exit(f"children ended with {codes}" if any(codes) else 0)
"""


def live(seed: int, *, forks_over_grpc: bool = False) -> tuple[str, str]:
    """Live one life; return what it was, and what is wrong with it (empty: nothing)."""
    dice = random.Random(seed)
    often = "0.15" if forks_over_grpc else "0.05"
    with contextlib.ExitStack() as stack:
        receiver, environ = _receive(stack, dice, forks_over_grpc=forks_over_grpc)
        told = stack.enter_context(tempfile.NamedTemporaryFile("r"))
        errors = stack.enter_context(tempfile.TemporaryFile("w+"))
        life = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", LIFE, str(seed), told.name, often],
                env={"PATH": os.environ["PATH"], **environ},
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        )
        life.stdout.readline()
        storm = dice.random() < 0.6
        if storm:
            time.sleep(dice.random())
            for _ in range(dice.randrange(1, 4)):
                with contextlib.suppress(ProcessLookupError):
                    life.send_signal(signal.SIGTERM)
                time.sleep(dice.choice([0, 0.005, 0.1]))
        began = time.monotonic()
        where: list[str] = []
        bound = threading.Timer(15, lambda: where.append(give_up(life.pid)))
        bound.start()
        life.wait()
        bound.cancel()
        took_s = time.monotonic() - began
        codes, gone = statuses(life.pid, 0.3 + 2 * BUDGET_S + 6)
        if not gone:
            where.append(give_up(life.pid))
            statuses(life.pid, 5)
        errors.seek(0)
        said = errors.read()
        ends = [json.loads(line) for line in told.read().splitlines()]
    what = f"{receiver}{' storm' if storm else ''}"
    wrong = []
    if life.returncode not in (0, -signal.SIGTERM):
        wrong.append(f"ended with {life.returncode}: {said[-5000:]}")
    # Not stormed, it lives for a second and a half; a loaded machine takes its time.
    if took_s > (0 if storm else 1.5) + 2 * BUDGET_S + 3:
        wrong.append(f"took {took_s:.1f} s to end")
    if any(codes):
        wrong.append(f"children ended with {codes}: {said[-5000:]}")
    if not gone:
        wrong.append(f"children that do not end: {said[-5000:]}")
    wrong += where
    wrong += [f"figures: {end}" for end in ends if not lawful(end) or end["queued"]]
    return what, "; ".join(wrong)


def _receive(
    stack: contextlib.ExitStack, dice: random.Random, *, forks_over_grpc: bool
) -> tuple[str, dict[str, str]]:
    """Start a receiver; return what it is, and the variables of who sends to it."""
    receiver = dice.choice(["agent", "collector", "otlp", "otlp-grpc", *FAULTS])
    if receiver in FAULTS:
        kind = dice.choice(["http", "otlp-http", "otlp-grpc", "udp"])
        kind = "otlp-grpc" if forks_over_grpc else kind
        port = free_port() if kind == "udp" else stack.enter_context(FAULTS[receiver]())
        return receiver, wire(kind, port)
    if forks_over_grpc or receiver == "otlp-grpc":
        port = stack.enter_context(collecting(dice.choice([0, 0.01, 0.3])))
        return "otlp-grpc", wire("otlp-grpc", port)
    if receiver == "agent":
        return receiver, stack.enter_context(FakeAgent()).environ
    made = stack.enter_context(FakeCollector())
    return receiver, made.environ if receiver == "collector" else made.otlp_environ


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--life", type=int)
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument(
        "--forks-over-grpc",
        action="store_true",
        help="only lives that send over OTLP/gRPC; they fork three times as often",
    )
    options = parser.parse_args()
    adopt()
    only = options.forks_over_grpc
    if options.life is not None:
        print(*live(options.life, forks_over_grpc=only))
        return 0
    until = time.monotonic() + 60 * options.minutes
    lives: Counter[str] = Counter()
    bad = 0
    seeds = iter(range(options.seed * 1_000_000, (options.seed + 1) * 1_000_000))

    def live_on() -> None:
        nonlocal bad
        while time.monotonic() < until:
            seed = next(seeds)
            what, wrong = live(seed, forks_over_grpc=only)
            lives[what] += 1
            if wrong:
                bad += 1
                print(f"WRONG --life {seed} ({what}): {wrong}", flush=True)

    with ThreadPoolExecutor(options.at_once) as pool:
        for done in [pool.submit(live_on) for _ in range(options.at_once)]:
            done.result()
    print(f"{lives.total()} lives, {bad} wrong:", dict(lives.most_common()))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
