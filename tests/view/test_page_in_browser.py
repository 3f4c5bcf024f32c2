"""The page of ``tracekit view`` in a real browser: Debian's Chromium, by its own driver."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import urllib3
from browser import CHROMEDRIVER, CHROMIUM, Browser

from tracekit.local import Backend

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(180),
    pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed"),
    pytest.mark.skipif(not CHROMEDRIVER, reason="chromedriver (chromium-driver) is not installed"),
]
START_US = 1_700_000_000_000_000
CORPUS = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"'><svg/onload=alert(1)>",
    "javascript:alert(1)",
    "{{constructor.constructor('alert(1)')()}}",
    "`${alert(1)}`",
    "<!--<script>",
    "]]><iframe srcdoc='<script>alert(1)</script>'>",
    "\u202e\u2066evil\u0000\u001b[31m",
    "__proto__",
    "%3Cscript%3Ealert(1)%3C/script%3E",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
]
LOADS = "script, style, link, img, iframe, object, embed, base, [onload], [onerror], [srcdoc]"
"""What could run or load something: the page makes none of it."""
AXE = Path(__file__).parents[2] / ".build/axe/node_modules/axe-core/axe.min.js"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture
def backend(browser):
    with Backend.on_free_ports() as running:
        browser.said()
        yield running
        browser.open("about:blank")
        assert browser.said() == []


def pair(key, value):
    return {"key": key, "value": {"stringValue": value}}


def span(name, number=1, parent=0, at_us=0, lasted_us=1000, trace=1, **fields):
    return {
        "traceId": f"{trace:032x}",
        "spanId": f"{number:016x}",
        "parentSpanId": f"{parent:016x}" if parent else "",
        "name": name,
        "kind": 2,
        "startTimeUnixNano": str((START_US + at_us) * 1000),
        "endTimeUnixNano": str((START_US + at_us + lasted_us) * 1000),
        **fields,
    }


def send(backend, services):
    spans = [
        {
            "resource": {"attributes": [pair("service.name", service), pair("host.name", service)]},
            "scopeSpans": [{"spans": spans}],
        }
        for service, spans in services.items()
    ]
    answer = urllib3.request(
        "POST",
        f"http://127.0.0.1:{backend.ports['otlp']}/v1/traces",
        body=json.dumps({"resourceSpans": spans}),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status == 200, answer.data


def order(trace=1, at_us=0, bank_us=6000):
    failed = {
        "status": {"code": 2, "message": "no money"},
        "attributes": [pair("card", "visa")],
        "events": [
            {
                "timeUnixNano": str((START_US + at_us + 3000) * 1000),
                "name": "exception",
                "attributes": [pair("exception.message", "no money")],
            }
        ],
        "links": [{"traceId": f"{trace + 1:032x}", "spanId": f"{1:016x}"}],
    }
    send(
        backend=order.backend,
        services={
            "shop": [
                span("GET /buy", 1, 0, at_us, 10_000, trace),
                span("pay", 2, 1, at_us + 1000, bank_us + 1000, trace, kind=3),
            ],
            "bank": [span("Pay", 3, 2, at_us + 1500, bank_us, trace, **failed)],
        },
    )


@pytest.fixture
def two_orders(backend):
    order.backend = backend
    order(1)
    order(2, at_us=1_000_000, bank_us=2000)
    return backend


def rows(browser):
    return browser.run(
        "return [...document.querySelectorAll('[role=treeitem]')]"
        ".sort((a, b) => a.dataset.row - b.dataset.row)"
        ".map((row) => row.textContent.replace(/[▾▸]/g, '').trim())"
    )


def test_an_empty_page_says_what_is_wrong(browser, backend):
    """Ports as they are, and what services that asked were told about sampling."""
    sampling = f"http://127.0.0.1:{backend.ports['sampling']}/sampling?service=quiet"
    assert urllib3.request("GET", sampling).status == 200

    browser.open(backend.url)

    browser.wait("document.body.innerText.includes('No trace yet')")
    text = browser.text()
    assert str(backend.ports["compact"]) in text
    assert "quiet has asked how to sample and was told: every trace" in text


def test_a_search_finds_spans(browser, two_orders):
    """The form asks Jaeger's questions; the address keeps the answer."""
    browser.open(two_orders.url)
    browser.wait("document.querySelectorAll('.traces li').length === 2")
    assert "2 traces, 2 with errors" in browser.text()

    browser.type("[name=minDuration]", "5ms")
    browser.type("[name=tags]", "card=visa")
    browser.press("Enter")

    browser.wait("document.querySelectorAll('.traces li').length === 1")
    assert "minDuration=5ms" in browser.run("return location.search")
    assert browser.run("return document.activeElement.name") == "tags"  # there somebody goes on
    browser.open(f"{two_orders.url}/search?service=nobody")
    browser.wait("document.body.innerText.includes('No trace matches')")


def test_a_trace_can_be_looked_into(browser, two_orders):
    """A click on a span shows its tags, events, links and ids; folding hides what is below."""
    browser.open(two_orders.url)
    browser.wait("document.querySelector('.traces li')")
    browser.click(f'[data-id="{1:016x}"] a')
    browser.wait("document.querySelectorAll('[role=treeitem]').length === 3")
    assert rows(browser) == [
        "shop GET /buy 10 ms",
        "shop pay 7 ms",
        "✗bank Pay 6 ms",
    ]

    browser.click("#row-2")
    browser.wait("!document.querySelector('aside').hidden")
    detail = browser.run("return document.querySelector('aside').innerText")
    for text in ("card", "visa", "exception.message", "no money", "host.name", f"{2:016x}"):
        assert text in detail

    browser.click("#row-1 .fold")
    browser.wait("document.querySelectorAll('[role=treeitem]').length === 2")
    assert "span=0000000000000002" in browser.run("return location.search")


def test_the_critical_path_was_waited_for(browser, two_orders):
    """Of every span, what no child that finished later covers."""
    browser.open(f"{two_orders.url}/trace/{1:x}?span={1:016x}")
    browser.wait("document.querySelector('aside .facts')")

    facts = browser.run("return document.querySelector('aside .facts').innerText")

    assert "On the critical path\n3 ms" in facts  # 1 ms before the call, 2 ms after it


def test_the_keyboard_alone_goes_everywhere(browser, two_orders):
    """From the list into a trace, to a span, its details and out again; the zoom; the help."""
    browser.open(two_orders.url)
    browser.wait("document.querySelector('.traces li')")
    browser.run("document.querySelector('.traces a').focus()")
    browser.press("Down", "Enter")
    browser.wait("document.querySelectorAll('[role=treeitem]').length === 3")

    browser.press("End", "Enter")
    browser.wait("!document.querySelector('aside').hidden")
    assert "Pay" in browser.run("return document.querySelector('aside h2').innerText")
    browser.press("Escape", "Left", "Left")
    browser.wait("document.querySelectorAll('[role=treeitem]').length === 2")
    before = browser.run("return document.querySelector('.ruler').innerText")
    browser.press("+")
    assert browser.run("return document.querySelector('.ruler').innerText") != before
    browser.press("0")
    assert browser.run("return document.querySelector('.ruler').innerText") == before
    browser.press("/", "c", "a", "r", "d", "Enter", "Escape")
    browser.wait("document.body.innerText.includes('1 match')")
    browser.press("?")
    browser.wait("document.querySelector('dialog[open]')")
    assert "Esc\nclose, or leave a field" in browser.text()
    browser.press("Escape", "g", "d")
    browser.wait("location.pathname === '/dependencies'")


def test_dragging_over_the_strip_zooms(browser, two_orders):
    """What was drawn over fills the width; what lies outside is told by an arrow."""
    browser.open(f"{two_orders.url}/trace/{1:x}")
    browser.wait("document.querySelector('[role=treeitem]')")

    browser.drag(".minimap", 0.85, 0.95)

    browser.wait("document.querySelectorAll('.away.left').length === 2")
    assert "8.5 ms" in browser.run("return document.querySelector('.ruler').innerText")


def test_two_traces_are_compared(browser, two_orders):
    """Chosen in the list; each call of both on one line, and what became faster."""
    browser.open(two_orders.url)
    browser.wait("document.querySelector('.traces li')")
    browser.click(f'[data-id="{1:016x}"] input')
    browser.click(f'[data-id="{2:016x}"] input')
    browser.run(
        "[...document.querySelectorAll('button')].find((b) => b.textContent === 'Compare').click()"
    )

    browser.wait("document.querySelectorAll('.compared tbody tr').length === 3")
    assert "\u22124 ms faster" in browser.text()


def test_services_are_drawn_with_their_calls(browser, two_orders):
    """Boxes and arrows, and the same as tables."""
    browser.open(f"{two_orders.url}/dependencies")

    browser.wait("document.querySelectorAll('svg .service').length === 2")
    assert browser.run("return document.querySelectorAll('svg .call.failed').length") == 1
    assert "100 %" in browser.text()


def test_a_search_follows_what_comes(browser, two_orders):
    """New traces stand on top without a click."""
    browser.open(f"{two_orders.url}/search?live=1")
    browser.wait("document.querySelectorAll('.traces li').length === 2")

    order(9, at_us=2_000_000)

    browser.wait("document.querySelectorAll('.traces li').length === 3")
    assert browser.run("return document.querySelector('.traces li').dataset.id") == f"{9:016x}"


def test_the_status_page_tells_of_losses(browser, two_orders):
    """A broken message is told everywhere; a strategy that is set there is what a service gets."""
    url = f"http://127.0.0.1:{two_orders.ports['otlp']}/v1/traces"
    headers = {"Content-Type": "application/json"}
    assert urllib3.request("POST", url, body=b"{<b>", headers=headers).status == 400
    browser.open(f"{two_orders.url}/status")
    browser.wait("document.body.innerText.includes('1 message arrived broken')")

    browser.run("document.querySelector('[name=param]').value = '0.25'")
    browser.type("[name=service]", "shop")
    browser.click(".order button")

    browser.wait("document.body.innerText.includes('Told from now on')")
    assert two_orders.strategies.of("shop").param == 0.25


def test_dark_and_light_follow_until_chosen(browser, two_orders):
    """The button's choice stays when the page is loaded again."""
    ground = "return getComputedStyle(document.body).backgroundColor"
    browser.open(two_orders.url)
    light = browser.run(ground)
    browser.scheme("dark")
    dark = browser.run(ground)
    assert light != dark

    browser.press("t")
    assert browser.run(ground) == light
    browser.open(two_orders.url)
    assert browser.run(ground) == light
    browser.run("localStorage.clear()")
    browser.scheme("light")


@pytest.mark.parametrize("saved", [False, True], ids=["served", "saved"])
def test_no_text_becomes_markup_or_code(browser, backend, tmp_path, saved):
    """Every field of a span says each of the corpus; it is shown, and nothing runs."""
    for number, text in enumerate(CORPUS, 1):
        tags = [pair(text, text), pair("plain", text)]
        event = {"timeUnixNano": str(START_US * 1000), "name": text, "attributes": tags}
        fields = {"attributes": tags, "events": [event], "status": {"code": 2, "message": text}}
        send(
            backend,
            {
                text: [span(text, 1, 0, number, trace=number, **fields)],
                f"b {text}": [span(text, 2, 1, number, trace=number, **fields)],
            },
        )
    browser.run("window.alert = () => { throw new Error('it ran') }")
    for number in range(1, len(CORPUS) + 1):
        address = f"{backend.url}/trace/{number:x}?span={1:016x}"
        if saved:
            page = tmp_path / "trace.html"
            export = f"{backend.url}/view/export?traceID={number:x}&format=html"
            page.write_bytes(urllib3.request("GET", export).data)
            address = f"{page.as_uri()}#/trace/{number:016x}?span={1:016x}"
        browser.open("about:blank")
        browser.open(address)
        browser.wait("document.querySelector('aside .tags')")
        assert browser.run(f"return document.querySelectorAll('main :is({LOADS})').length") == 0
    if not saved:
        for path in ("/", "/dependencies", f"/trace/{1:x}...{2:x}", "/status"):
            browser.open(backend.url + path)
            browser.wait("document.querySelector('main h1')")
            assert (
                browser.run("return document.querySelectorAll('main img, main script').length") == 0
            )


def test_a_saved_page_needs_no_server(browser, two_orders, tmp_path):
    """Opened from a file it shows its trace, folds, finds, and asks nobody."""
    page = tmp_path / "trace.html"
    export = f"{two_orders.url}/view/export?traceID={1:x}&format=html"
    page.write_bytes(urllib3.request("GET", export).data)

    browser.open(page.as_uri())

    browser.wait("document.querySelectorAll('[role=treeitem]').length === 3")
    browser.click(".brand")
    browser.wait("document.querySelector('.traces li a')")
    browser.click(".traces li a")
    browser.wait("document.querySelectorAll('[role=treeitem]').length === 3")
    asked = browser.run("return performance.getEntriesByType('resource').map((r) => r.name)")
    assert [each for each in asked if not each.startswith("data:")] == []


def test_a_senseless_trace_is_drawn(browser, backend):
    """Rings of parents, orphans, ends before starts, no names, ten thousand levels."""
    odd = [span("a", 2, 3), span("b", 3, 2), span("orphan", 4, 99), span("", 5, 4)]
    odd.append(span("back", 6, 4, 5000, -3000))
    odd.append(span("own parent", 7, 7))
    send(backend, {"": odd})
    send(backend, {"deep": [span(f"d{n}", n, n - 1, n, 9, trace=2) for n in range(1, 10_001)]})

    browser.open(f"{backend.url}/trace/{1:x}")
    browser.wait("document.querySelectorAll('[role=treeitem]').length === 6")
    assert "names a parent that has not arrived" in browser.text()
    browser.open(f"{backend.url}/trace/{2:x}")
    browser.wait("document.querySelector('[role=treeitem]')")
    browser.press("End")
    assert "d10000" in browser.wait("document.querySelector('.row.marked')?.textContent")
    assert len(rows(browser)) < 200


@pytest.mark.parametrize("width", [390, 1360, 1920])
def test_the_span_of_a_link_is_in_sight(browser, backend, width):
    """Also far down, forty levels deep, at the very end of the trace, beside its details."""
    chain = [span(f"d{n}", n, n - 1, n * 1000, 0) for n in range(2, 81)]
    send(backend, {"deep": [span("d1", 1, 0, 0, 80_000), *chain]})
    browser.resize(width, 800)
    try:
        browser.open(f"{backend.url}/trace/{1:x}?span={80:016x}")
        browser.wait("document.querySelector('aside .facts')")

        inside = """
            const box = (element) => element.getBoundingClientRect();
            const row = document.querySelector('.row.marked');
            const tree = box(document.querySelector('.tree'));
            const [lane, bar] = [box(row.querySelector('.lane')), box(row.querySelector('.bar'))];
            const name = row.querySelector('.operation');
            return [box(row).bottom <= tree.bottom + 1, bar.right <= lane.right + 1,
                    name.scrollWidth <= name.clientWidth && name.clientWidth > 0];
        """
        assert browser.run(inside) == [True, True, True]
    finally:
        browser.resize(1366, 850)


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: make test-browser")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_barrier(browser, two_orders, scheme):
    """Deque's axe-core, every rule that it has for WCAG and good practice, on every view."""
    browser.scheme(scheme)
    found = []
    for path, ready in (
        ("/", ".traces li"),
        ("/search?service=nobody", ".empty h2"),
        (f"/trace/{1:x}?span={3:016x}", "aside .tags"),
        (f"/trace/{1:x}...{2:x}", ".compared"),
        ("/dependencies", "svg .service"),
        ("/status", ".figures b"),
        ("/nowhere", ".empty"),
    ):
        browser.open(two_orders.url + path)
        browser.wait(f"document.querySelector('{ready}')")
        browser.run(AXE.read_text("utf-8"))
        result = browser.run("return axe.run()")
        found += [
            (path, each["id"], node["html"][:200], node["failureSummary"][:300])
            for each in result["violations"]
            for node in each["nodes"]
        ]
    browser.scheme("light")
    assert found == []
