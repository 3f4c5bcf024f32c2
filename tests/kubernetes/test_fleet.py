"""The simulated fleet: what is shown on the page on sizing follows from the pipeline's engines."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

REPOSITORY = Path(__file__).parents[2]
_spec = importlib.util.spec_from_file_location("fleet", REPOSITORY / "tests" / "soak" / "fleet.py")
fleet = importlib.util.module_from_spec(_spec)
sys.modules["fleet"] = fleet
_spec.loader.exec_module(fleet)
PROCESSES = 40
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def runs():
    """Both fleets, small, and their accounts, in which the law was checked."""
    both = {}
    for told in (True, False):
        simulated = fleet.Fleet(PROCESSES, told=told)
        both[told] = simulated.run(), simulated.account(), simulated
    return both


def test_nothing_is_lost_where_it_is_told(runs):
    """Where the kernel tells that agents are away, no span is lost; what waits is sent."""
    rows, account, _ = runs[True]
    assert account["made"] == account["arrived"] + account["waiting"] > 1_000
    assert account["dropped"] == account["vanished"] == 0
    assert max(row.queued for row in rows[fleet.OUTAGE_S : fleet.OUTAGE_END_S]) > 0
    assert rows[fleet.OUTAGE_END_S + 5].queued < max(row.queued for row in rows)


def test_losses_lie_within_the_restarts(runs):
    """What nobody tells is lost in the seconds of the restarts and the outage only."""
    rows, account, _ = runs[False]
    away = range(fleet.RESTART_S, fleet.RESTART_S + 10 * fleet.AWAY_S + 1)
    outage = range(fleet.OUTAGE_S, fleet.OUTAGE_END_S + 1)
    lost = {second for second, row in enumerate(rows) if row.vanished}
    assert lost <= {*away, *outage}
    assert lost & set(outage)
    assert account["vanished"] == sum(row.vanished for row in rows)


def test_the_rate_follows_the_traffic(runs):
    """Three times the traffic: the adaptive server's rate falls, by the samplers' own traces."""
    rows, _, simulated = runs[True]
    assert rows[-1].rate < max(row.rate for row in rows)
    states = [process.sampler.state() for process in simulated.processes]
    assert {state["strategy"]["type"] for state in states} == {"adaptive"}


def test_the_same_seed_gives_the_same_fleet():
    """The figures are reproduced by the command, on any machine."""
    first, second = (fleet.Fleet(20, told=True).run(80) for _ in range(2))
    assert first == second


def test_the_picture_is_well_formed(runs):
    """It parses, and has a line for each series."""
    picture = fleet.plot(runs[True][0], runs[False][0])
    lines = ET.fromstring(picture).findall("{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 6
