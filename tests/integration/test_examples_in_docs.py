"""The programs in README and tutorial, run as a reader would run them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import urllib3
from pasted import run_as_pasted
from ports import free_port, until_listening

from tracekit.local import Receiver

REPOSITORY = Path(__file__).parents[2]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


def _program(page, name):
    """Return the code block of a page that is marked ``<!-- run: name -->``."""
    marked = re.escape(f"<!-- run: {name} -->")
    (code,) = re.findall(
        rf"{marked}\n```python\n(.*?)```", (REPOSITORY / page).read_text(), re.DOTALL
    )
    return code


@pytest.fixture
def receiver():
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def serve(receiver, tmp_path):
    """Return a function that runs ``flask --app NAME run`` on a free port, and its base URL."""
    started = []

    def start(page, name):
        (tmp_path / f"{name}.py").write_text(_program(page, f"{name}.py"))
        port = free_port()
        process = subprocess.Popen(
            [sys.executable, "-m", "flask", "--app", name, "run", "--port", str(port)],
            cwd=tmp_path,
            env=os.environ
            | {
                "JAEGER_SERVICE_NAME": name,
                "JAEGER_AGENT_PORT": str(receiver.port),
                "JAEGER_SAMPLER_TYPE": "const",
                "JAEGER_SAMPLER_PARAM": "1",
                "JAEGER_REPORTER_FLUSH_INTERVAL": "100ms",
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        started.append(process)
        until_listening(port, process)
        return f"http://127.0.0.1:{port}"

    yield start
    for process in started:
        process.kill()
        process.wait()


def _get(url):
    return urllib3.PoolManager().request("GET", url, timeout=20, retries=False)


def test_the_readme_instruments_a_service(receiver, serve):
    """The ten lines of the README give a span for a request."""
    written = [line for line in _program("README.md", "service.py").splitlines() if line]
    assert len(written) <= 10

    assert _get(f"{serve('README.md', 'service')}/hello").data == b"hello"

    (span,) = receiver.wait(1, timeout_s=20)
    assert (span.service, span.kind) == ("service", "server")


def test_the_tutorial_keeps_its_promise(receiver, serve):
    """Five spans as told, the call and the parsing side by side, none for the probe."""
    shop = serve("docs/tutorial/first-trace.md", "shop")

    assert _get(f"{shop}/health").status == 200
    assert json.loads(_get(f"{shop}/order/apples").data) == {"ordered": True}
    spans = receiver.wait(5, timeout_s=20)

    kinds = sorted(span.kind for span in spans)
    assert kinds == ["client", "internal", "internal", "server", "server"]
    (call,) = [span for span in spans if span.kind == "client"]
    (parsing,) = [span for span in spans if span.operation == "parse-json"]
    (store,) = [span for span in spans if span.operation == "redis-get"]
    (asked,) = [span for span in spans if span.parent_id == call.span_id]
    (order,) = [span for span in spans if span.parent_id is None]
    assert call.parent_id == parsing.parent_id == order.span_id
    assert store.parent_id == asked.span_id
    assert order.tags["left"] == 3


def test_the_tutorial_watches_the_spans(tmp_path):
    """The watcher listens on the agent's port and draws what came."""
    code = _program("docs/tutorial/first-trace.md", "watch.py").replace("port=6831", "port=0")

    watched = subprocess.run(
        [sys.executable, "-c", code],
        input="\n",
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert watched.stdout.strip() == "Send a request, wait two seconds, press Enter."


ELSEWHERE = {
    "pulls.py": "it needs a store beside it, and has one in tests/jaeger_client",
    "watch.py": "it waits for its reader: see above",
}
_BLOCK = re.compile(r"(?:<!-- run: (\S+) -->\n)?```python\n(.*?)```", re.DOTALL)
_FRAMEWORK = re.compile(r"^import (?:tracekit\.)?(fastapi|django|aiohttp)$", re.MULTILINE)
BLOCKS = [
    pytest.param(code, id=f"{page.relative_to(REPOSITORY)}:{number}")
    for page in PAGES
    for number, (name, code) in enumerate(_BLOCK.findall(page.read_text()))
    if name not in ELSEWHERE
]


@pytest.mark.parametrize("code", BLOCKS)
def test_every_block_runs_as_pasted(code, tmp_path):
    """No name is missing, nothing raises: what a reader copies into a file runs as it is."""
    for framework in re.findall(
        r"import (?:tracekit\.)?(fastapi|django|aiohttp)$", code, re.MULTILINE
    ):
        pytest.importorskip(framework, reason="tests/peers run it")
    environ = os.environ | {"JAEGER_SERVICE_NAME": "docs", "JAEGER_AGENT_HOST": "127.0.0.1"}
    if "multiprocess" in code:  # as the page says before it
        environ["PROMETHEUS_MULTIPROC_DIR"] = str(tmp_path)
    run_as_pasted(code, tmp_path, environ)


def _links(page):
    found = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    return {(page.parent / link).resolve() for link in found if "://" not in link}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page):
    """Every relative link of a page has a file or directory at its end."""
    assert {link for link in _links(page) if not link.exists()} == set()


def test_the_index_leads_to_every_page():
    """Whoever starts at docs/index.md finds every page (the changelog's fragments aside)."""
    reached, unread = set(), [REPOSITORY / "docs" / "index.md"]
    while unread:
        page = unread.pop()
        reached.add(page)
        unread += [link for link in _links(page) - reached if link.suffix == ".md"]

    fragments = REPOSITORY / "docs" / "changelog.d"
    pages = {page for page in PAGES[1:] if page.parent != fragments}
    assert pages - reached == set()
