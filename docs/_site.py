"""What the site needs beside the pages: files outside ``docs`` that pages link to, as plain text.

``make docs-site`` runs it as a hook of MkDocs.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).parents[1]
SOURCES = "source"
_LINK = re.compile(r"(?<!!)\[([^\]\n]*)\]\(([^)#\s:]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add every file outside ``docs`` that a page links to."""
    from mkdocs.structure.files import File

    for page in list(files.documentation_pages()):
        for _, target, _ in _LINK.findall(page.content_string):
            path = _outside(page.src_uri, target)
            uri = path and f"{SOURCES}/{path}.txt"
            if uri and files.get_file_from_path(uri) is None:
                text = (REPOSITORY / path).read_text(encoding="utf-8")
                files.append(File.generated(config, uri, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Lead the links of a page that leave ``docs`` to those copies."""
    here = PurePosixPath(page.file.src_uri).parent

    def lead(link: re.Match[str]) -> str:
        text, target, _ = link.groups()
        path = _outside(page.file.src_uri, target)
        return f"[{text}]({relpath(f'{SOURCES}/{path}.txt', here)})" if path else link[0]

    return _LINK.sub(lead, markdown)


def _outside(page: str, target: str) -> str | None:
    """Return the path in the repository of a target that a reader of the site could not open."""
    path = normpath(str(PurePosixPath("docs", page).parent / target))
    hidden = path.endswith((".py", "Dockerfile")) or not path.startswith("docs/")
    return path if hidden and (REPOSITORY / path).is_file() else None
