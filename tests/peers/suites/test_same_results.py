"""Parts of other projects' suites, bare and traced: the same outcome of every test.

Each project's source distribution is downloaded in the version that is installed. What may differ
is named below: tests that compare every header of a request with a list.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import pytest

HERE = Path(__file__).parent
MARKS = "not dev_mode and not autobahn and not internal and not network"
MAY_SAY = "a request came with traceparent, which is not read|traces ASGI 3 applications"
OUTCOME = re.compile(r"^(PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS) (tests/\S+)", re.MULTILINE)


class Suite(NamedTuple):
    """What is run of a project, the least number of tests and of spans, and what may differ."""

    files: str
    tests: int
    spans: int
    may_differ: str


SUITES = {
    "aiohttp": Suite(
        "test_tracing test_client_middleware test_client_ws_functional test_client_session "
        "test_web_middleware",
        200,
        100,
        "test_request_tracing",
    ),
    "httpx": Suite("client", 200, 100, "header|test_auth"),
    "starlette": Suite(
        ".",
        1000,
        400,
        "nothing",
    ),
}


@pytest.fixture(scope="session")
def sources(tmp_path_factory):
    """Return what downloads a project's tests and says where they are."""

    def of(project):
        home = tmp_path_factory.mktemp(project)
        name = f"{project}-{version(project)}"
        wanted = f"{project}=={version(project)}"
        command = ["download", "--quiet", "--no-deps", "--no-binary", project, "-d", str(home)]
        got = subprocess.run(
            [sys.executable, "-m", "pip", *command, wanted],
            check=False,
            capture_output=True,
            text=True,
            timeout=600,
        )
        if got.returncode:
            pytest.skip(f"{wanted} has no source distribution here: {got.stderr[-300:]}")
        with tarfile.open(home / f"{name}.tar.gz") as archive:
            for member in archive.getmembers():
                # Its tests and settings; not the package, which would hide the installed one.
                if re.match(
                    rf"{name}/(tests/|pytest\.ini$|pyproject\.toml$|setup\.cfg$)", member.name
                ):
                    archive.extract(member, home, filter="data")
        return home / name

    return of


def outcomes(project, home, *options):
    """Run the part of a project's suite; return how each test ended, and what was said."""
    suite = SUITES[project]
    tests = home / "tests"
    paths = [
        str(tests / name if (tests / name).is_dir() else tests / f"{name}.py")
        for name in suite.files.split()
    ]
    plain = ["-q", "-rA", "-o", "addopts=", "-p", "no:cacheprovider", "-p", "traced_suite"]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *plain, "-m", MARKS, "--timeout", "120", *options, *paths],
        cwd=home,
        env={"PATH": "", "PYTHONPATH": str(HERE), "HOME": str(home)},
        check=False,
        capture_output=True,
        text=True,
        timeout=1500,
    )
    found = {test: outcome for outcome, test in OUTCOME.findall(ran.stdout)}
    assert len(found) >= suite.tests, ran.stdout[-3000:] + ran.stderr[-1000:]
    return found, ran.stdout


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("project", SUITES)
def test_a_traced_suite_has_the_same_results(project, sources):
    """Each test ends as it did; thousands of requests of somebody else's were traced."""
    home = sources(project)
    bare, _ = outcomes(project, home)
    traced, told = outcomes(project, home, "--traced", project)
    spans = int(re.search(r"spans of the suite: (\d+)", told)[1])
    assert spans >= SUITES[project].spans
    complaints = set(re.findall(r"^(?:WARNING|ERROR) +tracekit\S* .*", told, re.MULTILINE))
    assert not {each for each in complaints if not re.search(MAY_SAY, each)}
    other = {test for test in bare | traced if bare.get(test) != traced.get(test)}
    unexpected = {test for test in other if not re.search(SUITES[project].may_differ, test)}
    assert not unexpected, "\n".join(f"{bare.get(t)} -> {traced.get(t)} {t}" for t in unexpected)
