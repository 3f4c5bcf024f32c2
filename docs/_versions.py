"""The versions of the site: each has a folder of its own, and every page leads to the others.

    python docs/_versions.py           say the version that the sources are of
    python docs/_versions.py FOLDER    list the versions that were built in a folder

``make docs-site`` builds one. To have older ones beside it, run that on their tags first.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

_SOURCE = Path(__file__).parents[1] / "tracekit" / "_assembly" / "distribution.py"
_FRONT = """\
<!doctype html>
<meta charset="utf-8">
<title>tracekit</title>
<meta http-equiv="refresh" content="0; url={newest}/index.html">
<a href="{newest}/index.html">tracekit {newest}</a>
"""


def current() -> str:
    """Return the version of the sources."""
    (version,) = re.findall(
        r'^VERSION = "(.+)"$', _SOURCE.read_text(encoding="utf-8"), re.MULTILINE
    )
    return version


def _rank(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def write(folder: Path) -> None:
    """Write what the selector of the pages reads, and a front page that leads to the newest."""
    built = sorted(
        (page.parent.name for page in folder.glob("*/404.html")), key=_rank, reverse=True
    )
    rows = [
        {"version": version, "title": version, "aliases": ["latest"] if version == built[0] else []}
        for version in built
    ]
    (folder / "versions.json").write_text(json.dumps(rows), encoding="utf-8")
    (folder / "index.html").write_text(_FRONT.format(newest=built[0]), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        write(Path(sys.argv[1]))
    else:
        print(current())
