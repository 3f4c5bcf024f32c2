"""What a newcomer asks is answered within two clicks of the front page."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest

from tracekit._assembly.distribution import VERSION

DOCS = Path(__file__).parents[2] / "docs"
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)#\s:]+\.md)?(#[^)\s]*)?\)")

ASKED = {
    "How do I see a trace within minutes?": "tracekit demo",
    "Why do I see no traces?": "tracekit check",
    "How many spans did I lose, and why?": "tracekit.stats()",
    "What does it cost me?": "microseconds for each span",
    "How do I leave jaeger-client?": "tracekit migrate",
    "Sidecar or DaemonSet?": "Neither, if you start today",
    "How large must queue, collector and disk be?": "tracekit size",
    "Which headers does a mesh need?": "x-request-id",
    "Why is my trace not sampled?": "JAEGER_SAMPLER_TYPE",
    "Why tracekit, and not OpenTelemetry's SDK?": "What the others do better",
}
"""The questions on the front page, and what the page that answers them must say."""


def prose(page):
    """Return a page without its blocks of code."""
    return re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def links(page):
    """Return the pages that a page leads to."""
    return {(page.parent / target).resolve() for target, _ in LINK.findall(prose(page)) if target}


def anchors(page):
    """Return the ids of a page's headings, as the site makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


PAGES = sorted(page for page in DOCS.rglob("*.md") if page.parent.name != "changelog.d")


@pytest.mark.parametrize("question", ASKED)
def test_an_answer_is_one_click_away(question):
    """The front page asks it, and the page behind its link holds the answer."""
    front = (DOCS / "index.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| {re.escape(question)} \| (.*) \|$", front, re.MULTILINE)
    ((target, _),) = LINK.findall(row)
    assert ASKED[question] in (DOCS / target).read_text(encoding="utf-8")


def test_each_question_asked_is_checked():
    """Each of its questions is one whose answer is looked for here."""
    front = (DOCS / "index.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| (.*\?) \|", front, re.MULTILINE)) == set(ASKED)


def test_every_page_is_within_two_clicks():
    """And so is whatever it answers."""
    front = (DOCS / "index.md").resolve()
    first = links(front)
    second = {far for near in first if near.exists() for far in links(near)}
    assert {page.resolve() for page in PAGES} - first - second - {front} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_links_lead_somewhere(page):
    """Also without the site's builder, which knows more kinds of links."""
    for target, anchor in LINK.findall(prose(page)):
        other = (page.parent / target).resolve() if target else page
        assert other.exists(), target
        if anchor:
            assert anchor[1:] in anchors(other), f"{target}{anchor}"


def test_the_vocabulary_is_in_order():
    """Who looks up a word finds it, and each stands there once."""
    page = prose(DOCS / "reference" / "vocabulary.md")
    words = [row.casefold() for row in re.findall(r"^\| ([^|]*) \| ", page, re.MULTILINE)[1:]]
    assert words == sorted(set(words))
    assert len(words) > 30


def test_the_newest_version_comes_first(tmp_path):
    """By numbers and not by letters; the front page leads there."""
    versions = runpy.run_path(str(DOCS / "_versions.py"))
    for version in ("0.9.1", "0.10.0", "0.2.0"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "404.html").touch()
    (tmp_path / "assets").mkdir()
    versions["write"](tmp_path)
    listed = json.loads((tmp_path / "versions.json").read_text())
    assert [row["version"] for row in listed] == ["0.10.0", "0.9.1", "0.2.0"]
    assert [row["aliases"] for row in listed] == [["latest"], [], []]
    assert 'href="0.10.0/index.html"' in (tmp_path / "index.html").read_text()
    assert versions["current"]() == VERSION
