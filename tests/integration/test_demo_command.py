"""``tracekit demo`` as a user runs it: real processes, a real socket, from the built wheel."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import urllib3
from waiting import eventually

REPOSITORY = Path(__file__).parents[2]
pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Return a directory with the content of the wheel that this tree builds, read-only."""
    built = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(built)],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (path,) = built.glob("*.whl")
    installed = built / "installed"
    with zipfile.ZipFile(path) as archive:
        archive.extractall(installed)
    for directory, _, _ in os.walk(installed):
        Path(directory).chmod(0o555)
    yield installed
    for directory, _, _ in os.walk(installed):
        Path(directory).chmod(0o755)


def _command(*arguments):
    return [sys.executable, "-m", "tracekit._cli.main", *arguments]


def _environment(wheel):
    # What the caller has set for himself must not reach the demo's services.
    return os.environ | {
        "PYTHONPATH": str(wheel),
        "PYTHONDONTWRITEBYTECODE": "1",
        "JAEGER_SAMPLER_TYPE": "const",
        "JAEGER_SAMPLER_PARAM": "0",
        "JAEGER_AGENT_PORT": "1",
    }


def _demo(wheel, tmp_path, *arguments):
    return subprocess.run(
        _command("demo", *arguments),
        cwd=tmp_path,
        env=_environment(wheel),
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


def test_the_demo_shows_one_trace(wheel, tmp_path):
    """From the wheel alone: exit 0, every hop ticked, a tree of three services, a picture."""
    done = _demo(wheel, tmp_path, "--svg", "demo.svg", "--width", "100")

    assert done.returncode == 0, done.stdout + done.stderr
    spans, services = re.search(r"trace \w{32}  (\d+) spans, (\d+) services", done.stdout).groups()
    assert (int(spans) >= 8, int(services)) == (True, 3)
    ticked = re.findall(r"✓ (\S+ → \S+  \S+ \S+)", done.stdout)
    assert set(ticked) == {
        "ingress → frontend  HTTP /dispatch",
        "frontend → driver  gRPC Nearest",
        "frontend → driver  gRPC Track",
        "frontend → route  HTTP /route,",
    }
    assert len(set(re.findall(r"process (\d+)", done.stdout))) == 3
    assert "redis did not answer in 40 ms" in done.stdout  # the failure that was saved
    logged = re.search(r"log +driver +WARNING +(.*)", done.stdout)
    assert logged[1].startswith("attempt 1 to read T-703 failed")  # found by its trace id
    assert len(set(re.findall(r"client-uuid=(\w+)", done.stdout))) == 3
    assert "\x1b" not in done.stdout  # no colours into a pipe
    assert ET.parse(tmp_path / "demo.svg").getroot().tag.endswith("svg")


@pytest.mark.parametrize(
    ("lost", "hops"),
    [
        ("driver", ["frontend → driver  gRPC Nearest", "frontend → driver  gRPC Track"]),
        ("route", ["frontend → route  HTTP /route"]),
    ],
)
def test_a_lost_hop_is_named(wheel, tmp_path, lost, hops):
    """When one service's spans go elsewhere the demo fails and says which hop is missing."""
    done = _demo(wheel, tmp_path, "--lose", lost, "--timeout", "3")

    assert done.returncode == 1, done.stdout + done.stderr
    for hop in hops:
        assert f"✗ missing hop: {hop}" in done.stdout
    assert "✓ ingress → frontend" in done.stdout
    assert f"--- {lost} ---" in done.stdout


def test_the_demo_ends_on_the_page(wheel, tmp_path):
    """With --open the traces stand on the page, which the wheel brought along, until Ctrl-C."""
    with subprocess.Popen(
        _command("demo", "--open"),
        cwd=tmp_path,
        env=_environment(wheel) | {"BROWSER": "true"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as demo:
        said = []
        for line in demo.stdout:
            said.append(line)
            if found := re.search(r"on the page at (\S+?)\. ", line):
                page = urllib3.request("GET", found[1])
                traces = urllib3.request("GET", f"{found[1]}/view/traces").json()["traces"]
                demo.send_signal(signal.SIGINT)
                break
        rest = demo.stdout.read()
        assert demo.wait(60) == 0, "".join(said) + rest
    assert b"<title>tracekit view</title>" in page.data
    assert len(traces) == 2


def test_ctrl_c_ends_a_waiting_demo(wheel, tmp_path):
    """A browser that has not come back yet, like one in the terminal, changes nothing."""
    browser, came = tmp_path / "browser", tmp_path / "came"
    browser.write_text(f"#!/bin/sh\ntouch {came}\nexec sleep 20 >/dev/null 2>&1\n")
    browser.chmod(0o755)
    with subprocess.Popen(
        _command("demo", "--open"),
        cwd=tmp_path,
        env=_environment(wheel) | {"BROWSER": f"{browser} %s"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as demo:
        eventually(came.exists, 60)
        demo.send_signal(signal.SIGINT)
        assert demo.wait(60) == 0, demo.stdout.read()


@pytest.mark.parametrize(
    ("signum", "ends_with"),
    [(signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGKILL, -signal.SIGKILL)],
    ids=["SIGTERM", "SIGKILL"],
)
def test_an_ended_demo_leaves_no_process(wheel, tmp_path, signum, ends_with):
    """Whatever ends the demo also ends the services that it started."""
    with subprocess.Popen(
        _command("demo"),
        cwd=tmp_path,
        env=_environment(wheel),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as demo:
        started = []
        for line in demo.stdout:
            started += map(int, re.findall(r"process (\d+)", line))
            if len(started) == 3:
                break
        demo.send_signal(signum)
        demo.stdout.read()
        status = demo.wait(60)

    assert len(started) == 3
    assert status == ends_with
    eventually(lambda: not any(map(_alive, started)))


def _alive(pid):
    try:
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat").read_text() if sys.platform == "linux" else ""
    except (ProcessLookupError, FileNotFoundError):
        return False
    return ") Z " not in stat  # ended, but its new parent has not looked yet


def test_a_missing_extra_names_its_install(tmp_path):
    """A missing package is no traceback: status 2 and the one line that helps."""
    program = (
        "import sys; sys.modules['flask'] = None\n"  # what import sees where it is not installed
        "from tracekit._cli.main import main; sys.exit(main(['demo']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 2
    assert done.stdout.splitlines() == [
        "tracekit demo needs flask:",
        "pip install 'tracekit-jaeger[demo]'",
    ]


def test_the_wheel_carries_the_examples(wheel):
    """The examples travel with the package; stubs are made at the start of a process."""
    carried = {
        str(path.relative_to(wheel / "tracekit" / "_examples"))
        for path in (wheel / "tracekit" / "_examples").rglob("*")
        if path.is_file()
    }

    assert {"flask_app/app.py", "grpc_service/server.py", "grpc_service/driver.proto"} <= carried
    assert not [name for name in carried if "_pb2" in name or name.endswith(".pyc")]
