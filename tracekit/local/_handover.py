"""The page in one file, with traces inside: opens anywhere, asks nobody.

The page's modules become one script, in the order in which they need each other; hashes in its
policy admit that script and the style, and nothing that a trace might say.
"""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

from tracekit.local._go_json import dumps

_STATIC = Path(__file__).with_name("_static")
_IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./(\w+)\.js";$', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async function|function|const|class) (\w+))", re.MULTILINE)
_STYLE_LINK = '<link rel="stylesheet" href="/style.css">'
_SCRIPT_LINK = '<script type="module" src="/main.js"></script>'


def page_with(document: object) -> bytes:
    """Return the page with a document of Jaeger's JSON that it shows."""
    style = (_STATIC / "style.css").read_text("utf-8")
    script = one_script()
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; img-src data:;"
        " base-uri 'none'; form-action 'none'"
    )
    data = dumps(document)  # escapes "<": no text of a trace can end the element that holds it
    page = (_STATIC / "index.html").read_text("utf-8")
    parts = {
        '<meta charset="utf-8">': '<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        _STYLE_LINK: f"<style>{style}</style>",
        _SCRIPT_LINK: f'<script type="application/json" id="traces">{data}</script>\n'
        f'<script type="module">{script}</script>',
    }
    for part, content in parts.items():
        before, _, after = page.partition(part)
        page = before + content + after
    return page.encode("utf-8", "replace")


def one_script() -> str:
    """Return the page's modules as one text: each in a scope of its own, after those it needs."""
    done: dict[str, str] = {}

    def take(name: str) -> None:
        text = (_STATIC / f"{name}.js").read_text("utf-8")
        for _, needed in _IMPORT.findall(text):
            if needed not in done:
                take(needed)
        exported = ", ".join(each for _, each in _EXPORT.findall(text))
        text = _IMPORT.sub(
            lambda found: f"const {found[1].replace(' as ', ': ')} = module_{found[2]};", text
        )
        text = _EXPORT.sub(r"\1", text)
        done[name] = f"const module_{name} = (() => {{\n{text}\nreturn {{ {exported} }};\n}})();\n"

    take("main")
    return "".join(done.values())


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
