"""The pictures of the docs: the demo's traces on the page, as Chromium shows them.

    python tests/view/pictures.py [FOLDER]

Writes ``page-traces.png`` and ``page-trace.png`` into ``docs``.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from browser import Browser

DOCS = Path(__file__).parents[2] / "docs"


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS
    demo = subprocess.Popen(
        [sys.executable, "-m", "tracekit", "demo", "--open"],
        env={**os.environ, "BROWSER": "true", "PYTHONIOENCODING": "utf-8"},
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    try:
        url = next(
            found[1]
            for line in demo.stdout
            if (found := re.search(r"page at (http://\S+?)\. ", line))
        )
        with tempfile.TemporaryDirectory() as profile, Browser(profile, 1200, 720) as browser:
            browser.open(url)
            browser.wait("document.querySelectorAll('.traces li').length > 1")
            (folder / "page-traces.png").write_bytes(browser.picture())
            browser.click(".traces li:last-child a")
            browser.wait("document.querySelector('[role=treeitem]')")
            browser.press("e", "Enter")
            browser.wait("!document.querySelector('aside').hidden")
            (folder / "page-trace.png").write_bytes(browser.picture())
    finally:
        demo.send_signal(signal.SIGINT)
        demo.wait(30)


if __name__ == "__main__":
    main()
