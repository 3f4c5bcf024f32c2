"""Programs that nobody wrote: random steps on ``jaeger_client`` and on tracekit look the same."""

from __future__ import annotations

import random
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from opentelemetry import trace
from opentracing.scope_managers import ThreadLocalScopeManager
from opentracing.scope_managers.gevent import GeventScopeManager

import tracekit.jaeger_client

sys.path.insert(0, str(Path(__file__).parent))

from machine import Machine

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PROGRAMS = 300
PRIORITY = "sampling.priority"
PRIORITIES = [0, 1, 2, "1", "many"]
VALUES = ["text", 7, -1, 0.5, True, False, "", None, [1, 2], 1 << 40]


class Author:
    """Writes a program whose steps use only what is there at that moment."""

    STEPS = (
        *("start", "enter", "enter", "activate", "close", "tag", "tag", "priority", "log"),
        *("baggage", "baggage", "rename", "finish", "carry", "look", "look"),
    )

    def __init__(self, seed):
        self.choose = random.Random(seed)
        self.steps = []
        self.count = self.arrived = self.keys = 0
        self.open = []
        self.scopes = []
        self.withdrawn = set()

    def write(self):
        """Return whether roots are sampled, and the steps."""
        sampled = self.choose.random() < 0.7
        for _ in range(self.choose.randrange(5, 40)):
            step = self.choose.choice(self.STEPS)
            if step in ("start", "enter"):
                self.start(step)
            elif step == "close":
                if self.scopes:
                    self.scopes.pop()
                    self.steps.append([step])
            elif self.open:
                getattr(self, step, self.plain)(step, self.choose.choice(self.open))
        self.steps += [["look", number] for number in range(self.count)]
        self.steps += [["finish", number] for number in self.open]
        return sampled, self.steps

    def key(self):
        self.keys += 1
        return f"k{self.keys}"

    def forced(self, number):
        """Choose a priority; of a span that was withdrawn ours remembers more, if it comes back."""
        value = self.choose.choice([0, "many"] if number in self.withdrawn else PRIORITIES)
        if value == 0:
            self.withdrawn.add(number)
        return value

    def start(self, step):
        tags = {}
        if self.choose.random() < 0.15:  # first: theirs forgets the tags before it
            tags[PRIORITY] = self.forced(self.count)
        tags.update(
            (self.key(), self.choose.choice(VALUES)) for _ in range(self.choose.randrange(3))
        )
        if self.choose.random() < 0.2:
            tags["span.kind"] = self.choose.choice(["client", "server", "internal"])
        self.steps.append([step, *self.parent(), tags, self.choose.random() < 0.2])
        self.open.append(self.count)
        if step == "enter":
            self.scopes.append(self.count)
        self.count += 1

    def parent(self):
        how = self.choose.choice(["none", "none", "span", "context", "child", "follows", "arrived"])
        if how == "arrived" and self.arrived:
            return how, self.choose.randrange(self.arrived)
        if how in ("none", "arrived") or not self.open:
            return "none", 0
        return how, self.choose.choice(self.open)

    def plain(self, step, number):
        self.steps.append([step, number])

    def activate(self, step, number):
        self.scopes.append(number)
        self.plain(step, number)

    def tag(self, step, number):
        self.steps.append([step, number, self.key(), self.choose.choice(VALUES)])

    def priority(self, _step, number):
        self.steps.append(["tag", number, PRIORITY, self.forced(number)])

    def log(self, step, number):
        self.steps.append([step, number, {"event": "e", "value": self.choose.choice(VALUES)}])

    def baggage(self, step, number):
        value = self.choose.choice(["a", "b c", None])
        self.steps.append([step, number, self.choose.choice("xyz"), value])

    def rename(self, step, number):
        self.steps.append([step, number, f"name{len(self.steps)}"])

    def carry(self, step, number):
        self.arrived += 1
        self.steps.append([step, number, self.choose.randrange(3)])

    def finish(self, step, number):
        if number not in self.scopes:
            self.open.remove(number)
            self.plain(step, number)


def comparable(outcome):
    """Take out what differs on purpose where a person forced the trace.

    Ours has no tags of a sampler that was not asked, and still knows the kind of a span that was
    not sampled when it started.
    """
    for span in outcome["told"]:
        if span["flags"] & 2:
            for key in ("sampler.type", "sampler.param", "span.kind"):
                span["tags"].pop(key, None)
    return outcome


def test_programs_are_alike_in_every_scope():
    """Random ones, under every scope manager; at each step the active span is OpenTelemetry's."""
    managers = [lambda: None, ThreadLocalScopeManager, GeventScopeManager]
    if find_spec("opentracing.scope_managers.contextvars"):  # from 2.4 on
        module = import_module("opentracing.scope_managers.contextvars")
        managers.append(module.ContextVarsScopeManager)
    for seed in range(60):
        sampled, steps = Author(seed).write()
        seen = []
        for manager in managers:
            machine = Machine(tracekit.jaeger_client, sampled, manager())
            for step, *arguments in steps:
                getattr(machine, step)(*arguments)
                active = machine.tracer.active_span
                current = trace.get_current_span().get_span_context()
                assert (0 if active is None else active.span_id) == current.span_id
            seen.append((machine.seen, machine.told()))
            while machine.scopes:
                machine.close()
            assert machine.tracer.active_span is None
        assert seen == [seen[0]] * len(managers)


def test_random_programs_look_the_same(ask_both):
    """Parents, active spans, decisions, baggage, names, tags, logs and references."""
    programs = [Author(seed).write() for seed in range(PROGRAMS)]
    theirs, ours = ask_both("machine.py", programs)
    for asked, expected, found in zip(programs, theirs, ours, strict=True):
        assert (asked, comparable(found)) == (asked, comparable(expected))
