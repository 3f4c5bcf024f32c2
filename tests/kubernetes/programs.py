"""Build the programs that read manifests, with Go: ``make test-manifests`` runs it.

``decode`` has the types of the projects whose resources they are, ``collector`` and ``jaeger`` read
their own configurations, ``cleaner`` its command line. Each is built once (seven minutes of a core
in all) and kept in the user's cache; a link to it is left in the folder that is given. Without Go
there is none, and the tests that want it are skipped by name.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import go_programs

HERE = Path(__file__).parent
PROGRAMS = {
    "decode": (HERE / "decode", "."),
    "collector": (HERE / "collector", "."),
    "jaeger": (HERE / "collector", "github.com/jaegertracing/jaeger/cmd/jaeger"),
    "cleaner": (HERE / "collector", "github.com/jaegertracing/jaeger/cmd/es-index-cleaner"),
}


def main(links: Path) -> None:
    """Leave a link to each program."""
    links.mkdir(parents=True, exist_ok=True)
    go_programs.CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="go-", dir=go_programs.CACHE) as workshop:
        for name, (source, package) in PROGRAMS.items():
            link = links / name
            link.unlink(missing_ok=True)
            try:
                link.symlink_to(go_programs.of_source(Path(workshop), source, package))
            except go_programs.Missing as missing:
                print(f"{name} is not built: {missing}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
