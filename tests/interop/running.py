"""Programs beside the tests: started, waited for until they answer, and ended by their own pid."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

from waiting import eventually

EXAMPLES = Path(__file__).parents[2] / "examples"
SOON = 60.0


def get(url):
    with urllib.request.urlopen(url, timeout=SOON) as answer:
        return answer.read().decode()


@contextlib.contextmanager
def running(command, log, **options):
    """Run ``command``, whose errors go into the file ``log``; yield the process."""
    with log.open("w") as errors:
        process = subprocess.Popen(command, stderr=errors, **options)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(SOON)
        finally:
            process.kill()
            if process.stdout is not None:
                process.stdout.close()


@contextlib.contextmanager
def serving(command, log, url, *, says=""):
    """Run a server until the block ends; yield when ``url`` answers with ``says`` in it."""
    with running(command, log, stdout=subprocess.DEVNULL) as process:

        def up():
            assert process.poll() is None, log.read_text()[-2000:]
            with contextlib.suppress(OSError):
                return says in get(url)
            return False

        eventually(up, SOON, lambda: log.read_text()[-2000:], every_s=0.05)
        yield process


@contextlib.contextmanager
def example(folder, environ, program, *arguments):
    """Run an example service; yield its port."""
    command = [sys.executable, EXAMPLES / program, "--port", "0", *arguments]
    log = folder / f"{environ['JAEGER_SERVICE_NAME']}.log"
    with running(
        command, log, env=os.environ | environ, stdout=subprocess.PIPE, text=True
    ) as process:
        said = process.stdout.readline()
        assert said, log.read_text()[-2000:]
        yield int(re.search(r"listening on 127\.0\.0\.1:(\d+)", said)[1])
