"""Look through the built site: no broken link or anchor, and nothing that another host would serve.

Run by ``make docs-site``; the argument is the folder.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src"), ("source", "src")}
NOT_LOADED = {"canonical", "prev", "next", "edit"}


class Page(HTMLParser):
    """The ids, the links and the loaded resources of one page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag names."""
        named = {name: value or "" for name, value in attrs}
        self.ids.update(named[name] for name in ("id", "name") if name in named)
        if tag == "a" and "href" in named:
            self.links.append(named["href"])
        for kind, name in LOADED:
            if tag == kind and name in named and named.get("rel") not in NOT_LOADED:
                self.loaded.append(named[name])


def problems(site: Path) -> list[str]:
    """Return a line for each link that leads nowhere and each resource of another host."""
    pages = {
        path.resolve(): Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")
    }
    found = []
    for path, page in pages.items():
        name = path.relative_to(site.resolve())
        found += [f"{name}: loads {url}" for url in page.loaded if urlsplit(url).netloc]
        if path.name == "404.html":  # its addresses are of a server's root
            continue
        for url in (*page.links, *page.loaded):
            parts = urlsplit(url)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                found.append(f"{name}: {url} is not there")
            elif target in pages and unquote(parts.fragment) not in {"", *pages[target].ids}:
                found.append(f"{name}: {url} has no such place")
    if len(pages) < 20:  # an empty folder is no site
        found.append(f"{site}: only {len(pages)} pages")
    return found


if __name__ == "__main__":
    told = problems(Path(sys.argv[1]))
    sys.stdout.writelines(f"{line}\n" for line in told)
    sys.exit(1 if told else 0)
