"""``tracekit migrate`` names what a program has of retired libraries, and what to write instead."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit._cli.main import main
from tracekit._cli.migrate.reading import MAX_FILE_BYTES, files_of, read
from tracekit._cli.migrate.table import LIBRARIES, NAMES, REQUIREMENTS

PROGRAM = """\
import os, time
import jaeger_client
import opentracing
from flask_opentracing import FlaskTracing as Traced
from jaeger_client import Config, NoSuchThing
from jaeger_client.TUDPTransport import TUDPTransport
from opentracing_instrumentation.client_hooks import install_all_patches
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from . import jaeger_client as own

class Mine(Traced):
    def _before_request_fn(self, attributes): ...

config = Config(
    config={
        "sampler": {"type": "const", "param": 1},
        "local_agent": {"reporting_host": os.environ["JAEGER_AGENT_HOST"]},
        "made_up": True,
    },
    service_name="shop",
)
made = config.initialize_tracer(io_loop=None)
reporter = jaeger_client.reporter.NullReporter()
exporter = OTLPSpanExporter(endpoint="collector:4317", insecure=True)
os.environ["JAEGER_NO_SUCH"], os.environ["OTEL_EXPORTER_JAEGER_AGENT_HOST"]
time.sleep(2)
made.close()
"""


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "shop.py"
    path.write_text(PROGRAM)
    return path


def found(path):
    return {(it.kind, it.old): (it.line, it.new) for it in read(path)}


def test_each_finding_has_line_and_row(program):
    """Imports under any name, options, keys, variables, idioms; "" where there is no row."""
    said = found(program)
    at = lambda text: PROGRAM[: PROGRAM.index(text)].count("\n") + 1  # noqa: E731
    assert said["import", "jaeger_client.Config"] == (5, "`tracekit.jaeger_client.Config`")
    assert said["import", "flask_opentracing.FlaskTracing"] == (4, "`tracekit.flask.FlaskTracing`")
    assert said["import", "jaeger_client.NoSuchThing"] == (5, "")
    assert "own socket" in said["import", "jaeger_client.TUDPTransport.TUDPTransport"][1]
    hooks = "opentracing_instrumentation.client_hooks.install_all_patches"
    assert "from Python 3.10 on it fails" in said["import", hooks][1]
    name = "jaeger_client.reporter.NullReporter"
    assert said["import", name] == (at("NullReporter"), f"`tracekit.{name}`")
    assert said["option", "sampler.type"] == (at("const"), "as it was")
    assert said["option", "made_up"] == (at("made_up"), "")
    assert said["option", "insecure="] == (at("OTLPSpanExporter(end"), "`init(insecure=…)`")
    assert said["variable", "JAEGER_AGENT_HOST"] == (at("JAEGER_AGENT"), "read as it is")
    assert said["variable", "JAEGER_NO_SUCH"][1] == ""
    assert "JAEGER_AGENT_HOST" in said["variable", "OTEL_EXPORTER_JAEGER_AGENT_HOST"][1]
    assert said["idiom", "def _before_request_fn"][0] == at("def _before")
    assert said["idiom", "time.sleep()"][0] == at("time.sleep")
    assert said["idiom", "tracer.close()"][0] == at("made.close")
    assert said["idiom", "initialize_tracer(io_loop)"][0] == at("initialize_tracer")


def test_a_folder_is_read_only(program, capsys):
    """Programs, requirements and manifests; not what others installed there, nothing hidden."""
    folder = program.parent
    (folder / "requirements.txt").write_text("flask\njaeger-client==4.8.0\nthreadloop<2\n")
    (folder / "deploy.yaml").write_text("env:\n  - name: JAEGER_SAMPLER_TYPE\n")
    for hidden in ("venv", ".git", "node_modules"):
        (folder / hidden).mkdir()
        (folder / hidden / "x.py").write_text("import jaeger_client\n")
    (folder / "venv" / "pyvenv.cfg").write_text("")
    (folder / "loop").symlink_to(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*.py")}
    assert main(["migrate", str(folder)]) == 1  # something has no row
    told = capsys.readouterr().out
    assert "jaeger-client  →  tracekit-jaeger[opentracing]" in told
    assert "threadloop  →  nothing" in told
    assert "JAEGER_SAMPLER_TYPE  →  read as it is" in told
    assert "no row for this" in told
    assert "JAEGER_NO_SUCH  →  no tracing client reads this: the program's own?" in told
    assert told.splitlines()[-1].endswith("found in 3 files, 3 of them without a row.")
    assert {path: path.read_bytes() for path in folder.rglob("*.py")} == before


def test_all_or_nothing_found_is_fine(tmp_path, capsys):
    """Status 0; 2 for what is not there."""
    (tmp_path / "a.py").write_text("from jaeger_client import Config\n")
    assert main(["migrate", str(tmp_path)]) == 0
    (tmp_path / "a.py").write_text("import flask\ntracer = make()\ntracer.close()\n")
    assert main(["migrate", str(tmp_path / "a.py")]) == 0
    assert "Nothing of retired tracing libraries was found." in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["migrate", str(tmp_path / "nowhere")])
    assert ended.value.code == 2


def test_python_2_is_searched_by_line(tmp_path):
    """And the reader is told that no more than imports were looked for."""
    path = tmp_path / "old.py"
    path.write_text("from jaeger_client import Config, Span\nprint 'JAEGER_TAGS'\n")
    said = found(path)
    assert said["import", "jaeger_client.Span"] == (1, "`tracekit.jaeger_client.Span`")
    assert said["variable", "JAEGER_TAGS"] == (2, "read as it is")
    assert ("unread", "this is no Python 3: only imports were looked for") in said


def test_what_cannot_be_read_is_said(tmp_path, capsys):
    """A file of a size that no program has, one without permission, a name that would forge."""
    (tmp_path / "big.py").write_text("#" * (MAX_FILE_BYTES + 1))
    (tmp_path / "evil\x1b[31m.py").write_text("import jaeger_client\n")
    assert main(["migrate", str(tmp_path)]) == 1
    told = capsys.readouterr().out
    assert f"more than {MAX_FILE_BYTES} bytes" in told
    assert "\x1b" not in told


@given(st.text(max_size=200))
def test_no_text_makes_it_raise(text):
    """Whatever stands in a file."""
    import tempfile  # noqa: PLC0415 (a function-scoped fixture cannot be used by a property)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any.py"
        path.write_text(f"import jaeger_client\n{text}", encoding="utf-8", errors="replace")
        assert read(path)


def test_it_needs_none_of_the_libraries(tmp_path, program):
    """So it can be run before anything is installed."""
    code = f"""
import sys
for name in ("flask", "grpc", "opentracing", "requests", "jaeger_client"):
    sys.modules[name] = None
from tracekit._cli.main import main
sys.exit(main(["migrate", {str(program)!r}]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "tracekit.jaeger_client.Config" in done.stdout


def test_each_row_is_told_once():
    """No two rows for one name; requirements are distributions' normal names."""
    names = [row.old for row in (*LIBRARIES, *NAMES)]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z0-9-]+", name) for name in REQUIREMENTS)


def test_each_library_of_the_table_is_tried():
    """By a program that runs old and new, or by tests that stand there."""
    root = Path(__file__).parents[2]
    programs = (root / "tests" / "libraries" / "programs.py").read_text(encoding="utf-8")
    for row in LIBRARIES:
        path = row.tried.startswith("tests/")
        assert (root / row.tried).exists() if path else f"def {row.tried}(side" in programs, row.old
        assert row.install


def test_every_library_has_its_rows():
    """Those of tests/libraries: nothing that they import of a retired library is without one."""
    programs = read(Path(__file__).parents[1] / "libraries" / "programs.py")
    imports = {it.old.partition(".")[0]: it.new for it in programs if it.kind == "import"}
    assert len(imports) >= 12
    assert all(imports.values())


def test_retired_packages_can_be_read():
    """Each file of them, where they are installed, with a row for what of it is public."""
    libraries = Path(__file__).parents[2] / ".build" / "jaeger-client" / "lib"
    names = ("jaeger_client", "flask_opentracing", "grpc_opentracing", "redis_opentracing")
    folders = [folder for name in names for folder in libraries.glob(f"*/site-packages/{name}")]
    if missing := set(names) - {folder.name for folder in folders}:
        pytest.skip(f"{', '.join(sorted(missing))} not installed: make test-libraries")
    answers = [it for folder in folders for path in files_of(folder) for it in read(path)]
    assert answers
    imports = [it for it in answers if it.kind == "import"]
    assert len(imports) > 50
    assert {it.old for it in imports if not it.new and "._" not in it.old} == set()
