"""Compare tracekit with its peers: ``make bench``, or ``python tests/bench/compare --help``."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import page
from cells import CELLS
from peers import BUILD, NEWEST, ROOT, SIDES, NotInstalledError, is_native, python_of, versions
from runs import Results, Sink, key_of, lost, run

ENOUGH = 2
"""A side that has lost spans this often is marked and not run again in that cell."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cell", nargs="*", default=[], choices=[[], *CELLS], metavar="CELL",
                        help=f"measure these anew: {', '.join(CELLS)}")  # fmt: skip
    parser.add_argument("--peer", nargs="*", default=[], choices=[[], *SIDES], metavar="PEER",
                        help="only these sides, shown and not kept")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "reference",
                        help="where the page and its pictures are written")  # fmt: skip
    parser.add_argument("--uv", default="uv")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument(
        "--profile", action="store_true", help="leave flame graphs, measure nothing"
    )
    asked = parser.parse_args()

    pythons: dict[str, str] = {}
    absent: dict[str, str] = {}
    for peer in ("sink", *dict.fromkeys(side.peer for side in SIDES.values())):
        try:
            pythons[peer] = python_of(peer, asked.uv, asked.python)
        except NotInstalledError as why:  # noqa: PERF203 - each peer on its own
            absent[peer] = str(why)
            print(f"{peer} does not install: {why}", file=sys.stderr)
    if asked.profile:
        profile(asked, pythons)
        return
    installed = {
        name: version
        for peer, python in pythons.items()
        if peer != "sink" and not peer.endswith(NEWEST)
        for name, version in versions(python).items()
    }
    interpreter = subprocess.run(
        [pythons["tracekit"], "-c", "import platform; print(platform.python_version())"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    native = is_native(pythons["tracekit"])
    words = [f"{name} {version}" for name, version in sorted(installed.items())]
    words.append(f"native {native}")
    started = time.monotonic()
    results = Results(BUILD / "results", key_of(ROOT, interpreter, *words))
    for cell in asked.cell:
        if not asked.peer:
            results.forget(cell)
    measured = {}
    with Sink(pythons["sink"]) as sink:
        for cell in asked.cell or CELLS:
            began = time.monotonic()
            runs = measure(sink, pythons, cell, results, asked)
            measured[cell] = runs
            print(page.section(cell, runs, absent), flush=True)
            print(f"({time.monotonic() - began:.0f} s)\n", flush=True)
    if asked.peer or asked.cell:
        return
    facts = page.Facts(machine(), interpreter, installed, absent, asked.rounds, native)
    page.write(asked.page, measured, facts)
    print(f"{asked.page / 'performance.md'} is written, after {time.monotonic() - started:.0f} s")


def measure(sink, pythons, cell, results, asked):
    """Run what is missing of a cell, round by round through all sides."""
    runs = results.load(cell) if not asked.peer else {}
    for number in range(min(asked.rounds, CELLS[cell].rounds)):
        for name in CELLS[cell].sides:
            if asked.peer and name not in asked.peer:
                continue
            done = runs.setdefault(name, [])
            given_up = sum(map(lost, done)) >= ENOUGH
            if len(done) > number or given_up or SIDES[name].peer not in pythons:
                continue
            done.append(run(sink, pythons[SIDES[name].peer], name, cell))
            if not asked.peer:
                results.save(cell, runs)
    return runs


def profile(asked, pythons) -> None:
    """Record each cell and side under py-spy; leave a flame graph for each."""
    subprocess.run(
        [asked.uv, "pip", "install", "--quiet", "--python", pythons["sink"], "py-spy"], check=True
    )
    spy = Path(pythons["sink"]).with_name("py-spy")
    home = BUILD / "profiles"
    home.mkdir(exist_ok=True)
    with Sink(pythons["sink"]) as sink:
        for cell in asked.cell or ["cpu"]:
            for name in asked.peer or ["tracekit"]:
                graph = home / f"{cell}-{name}.svg"
                under = (str(spy), "record", "--rate", "500", "--output", str(graph), "--")
                told = run(sink, pythons[SIDES[name].peer], name, cell, under)
                print(f"{name} {cell}: {told['error']}" if "error" in told else graph)


def machine() -> str:
    """Describe this computer in a line."""
    model = platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"


if __name__ == "__main__":
    main()
