"""``tracekit run``: a program that is started with it is the same program, traced."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import textwrap
import zipapp
from pathlib import Path

import pytest
from faults import IDLE
from suites import PYTEST

TRACEKIT = str(Path(sys.executable).parent / "tracekit")

APP = """
import flask
app = flask.Flask("shop")
app.add_url_rule("/a", view_func=lambda: "a", endpoint="a")
app.test_client().get("/a")
"""


def test_an_unchanged_program_is_traced(python, agent):
    """``init`` and ``instrument`` have happened before its first import."""
    done = python(APP, TRACEKIT, "run", "--")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (span,) = agent.wait(1)
    assert (span.service, span.operation) == ("shop", "GET /a")


def test_pid_and_status_are_the_programs(environ, agent):
    """It ends in exec, and the status comes through."""
    program = "import os, sys; print(os.getpid()); sys.exit(7)"
    with subprocess.Popen(
        [TRACEKIT, "run", "--", sys.executable, "-c", program],
        env=environ, stdout=subprocess.PIPE, text=True,
    ) as started:  # fmt: skip
        out, _ = started.communicate(timeout=60)
    assert (int(out), started.returncode) == (started.pid, 7)


def test_a_signal_ends_it_as_bare(environ, agent):
    """SIGTERM kills by SIGTERM, and what was queued has been sent."""
    program = f"{APP}\nprint('up', flush=True)\nimport time\n{IDLE}"
    with subprocess.Popen(
        [TRACEKIT, "run", "--", sys.executable, "-c", program],
        env=environ, stdout=subprocess.PIPE, text=True,
    ) as started:  # fmt: skip
        assert started.stdout.readline() == "up\n"
        started.send_signal(signal.SIGTERM)
        assert started.wait(30) == -signal.SIGTERM
    assert agent.wait(1)


@pytest.mark.parametrize(
    "children",
    [
        "subprocess.run([sys.executable, sys.argv[0], 'child'], check=True)",
        "pid = os.fork()\n    if pid: os.waitpid(pid, 0)\n    else: work(); os._exit(0)",
        "process('spawn')",
        "process('forkserver')",
        "process('fork')",
    ],
)
def test_processes_that_it_starts_are_traced(python, agent, children):
    """Programs, forks, and the three ways of multiprocessing: each sends its own span."""
    done = python(
        f"""
import multiprocessing, os, subprocess, sys

def work():
    import flask
    app = flask.Flask("shop")
    app.add_url_rule("/a", view_func=lambda: "a", endpoint="a")
    app.test_client().get("/a")

def process(way):
    child = multiprocessing.get_context(way).Process(target=work)
    child.start(); child.join(); assert child.exitcode == 0

if __name__ == "__main__" and "child" in sys.argv:
    work()
elif __name__ == "__main__":
    work()
    {children}
""",
        TRACEKIT, "run", "--",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    spans = agent.wait(2)
    assert [span.operation for span in spans] == ["GET /a", "GET /a"]
    assert len({span.trace_id for span in spans}) == 2


def test_an_own_sitecustomize_still_runs(python, package):
    """And is what ``import sitecustomize`` means to the program."""
    path = package("sitecustomize", "import sys; sys.theirs = True")
    program = """
        import sitecustomize, sys
        print(sys.theirs, "packages" in sitecustomize.__file__, "_instrument" in str(sys.path))
    """
    done = python(program, TRACEKIT, "run", "--", path=path)
    assert (done.stdout, done.stderr) == ("True True False\n", "")


def test_a_sitecustomize_may_fail(python, package, agent):
    """Python tells of it as ever, tracing starts, and the program goes on."""
    path = package("sitecustomize", "raise RuntimeError('theirs')")
    done = python(APP, TRACEKIT, "run", "--", path=path)
    assert done.returncode == 0
    assert "theirs" in done.stderr
    assert agent.wait(1)


def test_other_interpreters_run_as_ever(environ, tmp_path):
    """The path reaches every Python that a program starts; -v says why one is not traced."""
    venv = tmp_path / "other"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    command = [str(venv / "bin" / "python"), "-c", "import sys; print('tracekit' in sys.modules)"]
    done = subprocess.run(
        [TRACEKIT, "run", "-v", "--", *command], env=environ, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout == "False\n"
    assert "not traced: No module named 'tracekit'" in done.stderr


def test_v_tells_what_was_done(python):
    """On stderr, each line with the process that it is about."""
    done = python("import flask", TRACEKIT, "run", "-v", "--")
    assert "tracing shop: spans to the agent" in done.stderr
    assert "on: flask" in done.stderr
    assert "waiting for the import of: flask" in done.stderr


@pytest.mark.parametrize(
    ("command", "path", "named"),
    [
        (["opentelemetry-instrument", "x"], "", "opentelemetry-instrument"),
        (["/opt/bin/ddtrace-run", "x"], "", "ddtrace-run"),
        (["true"], "/auto/opentelemetry/instrumentation/auto_instrumentation", "opentelemetry-"),
        (["true"], "/x/ddtrace/bootstrap:/y", "ddtrace-run"),
    ],
)
def test_beside_another_launcher_it_refuses(environ, command, path, named):
    """Two would trace everything twice."""
    done = subprocess.run(
        [TRACEKIT, "run", "--", *command], env={**environ, "PYTHONPATH": path},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert named in done.stderr


def test_a_bare_script_is_the_shells(environ, tmp_path):
    """As ``execvp(3)`` and ``env(1)`` have it; found by its path, or on ``PATH``."""
    script = tmp_path / "task"
    script.write_text('echo "$#"; exit 6\n')
    script.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{environ['PATH']}"
    for command in (str(script), "task"):
        done = subprocess.run(
            [TRACEKIT, "run", command, "a b", ""], env={**environ, "PATH": path},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout, done.stderr) == (6, "2\n", "")


def test_a_lost_interpreter_is_the_cause(environ, tmp_path):
    """The file is there: that it is not found would lead astray."""
    script = tmp_path / "task"
    script.write_text("#!/no/such/python\n")
    script.chmod(0o755)
    done = subprocess.run(
        [TRACEKIT, "run", str(script)], env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 127
    assert "interpreter" in done.stderr


def test_what_cannot_be_run_is_told(environ, tmp_path):
    """127 for what is not there, 126 for what is no program, 2 for nothing at all."""
    codes = [
        subprocess.run(
            [TRACEKIT, "run", *command], env=environ, capture_output=True, check=False
        ).returncode
        for command in (["--", "no-such-program"], ["--", str(tmp_path)], [], ["--"])
    ]
    assert codes == [127, 126, 2, 2]


def test_options_after_a_command_are_its_own(environ):
    """Also without the dashes before it."""
    for before in ([], ["--"]):
        done = subprocess.run(
            [TRACEKIT, "run", *before, "echo", "-v", "--", "--as-jaeger-client"], env=environ,
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout == "-v -- --as-jaeger-client\n"


def test_a_zipapp_is_traced(environ, tmp_path, agent):
    """Named by its archive, and given to an interpreter."""
    source = tmp_path / "app"
    source.mkdir()
    (source / "__main__.py").write_text(f"{APP}\nraise SystemExit(3)")
    archive = tmp_path / "app.pyz"
    zipapp.create_archive(source, archive)
    bare = [sys.executable, str(archive)]
    commands = ([TRACEKIT, "run", "--", str(archive)], [TRACEKIT, "run", "--", *bare], bare)
    ended = [subprocess.run(each, env=environ, check=False).returncode for each in commands]
    assert ended == [3, 3, 3]
    assert [span.operation for span in agent.wait(2)] == ["GET /a", "GET /a"]


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_a_test_run_is_traced(environ, tmp_path, agent, workers):
    """It ends as the bare one, and its pytest-xdist workers are traced as well."""
    if workers:
        pytest.importorskip("xdist")
    case = f"def test_it():\n{textwrap.indent(APP, '    ')}\n"
    for number in range(4):
        failing = "    assert number\n".replace("number", str(number))
        (tmp_path / f"test_{number}.py").write_text(case + failing)
    command = [*PYTEST, *workers]
    ended = [
        subprocess.run(
            [*before, *command], env=environ, cwd=tmp_path, capture_output=True, check=False
        ).returncode
        for before in ([TRACEKIT, "run", "--"], [])
    ]
    assert ended == [1, 1]
    assert [span.operation for span in agent.wait(4)] == ["GET /a"] * 4


@pytest.mark.parametrize(
    "said",
    [
        "FlaskTracing(app, exclude=['/quiet'], response_headers=True)",
        "FlaskTracing(exclude=['/quiet'], response_headers=True).init_app(app)",
        "mine = FlaskTracing(app, trace_all=False, response_headers=True); wanted = mine.trace()",
    ],
)
def test_init_app_holds_under_the_launcher(python, agent, said):
    """One span a request, of what it wants traced, with the options that it gave."""
    done = python(
        f"""
        import flask
        from tracekit.flask import FlaskTracing

        app = flask.Flask("shop")
        wanted = lambda view: view
        {said}
        app.add_url_rule("/a", view_func=wanted(lambda: "a"), endpoint="a")
        app.add_url_rule("/quiet", view_func=lambda: "q", endpoint="quiet")
        for path in ("/quiet", "/a"):
            headers = app.test_client().get(path).headers
        print("traceresponse" in headers)
        """,
        TRACEKIT, "run", "--",
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
    assert [span.operation for span in agent.wait(1)] == ["GET /a"]


def test_as_jaeger_client_takes_old_names(python):
    """For programs that nobody can edit."""
    done = python(
        "import jaeger_client; print(jaeger_client.__name__)",
        TRACEKIT, "run", "--as-jaeger-client", "--",
    )  # fmt: skip
    assert done.stdout == "tracekit.jaeger_client\n"


def test_a_programs_own_init_comes_first(python, agent):
    """Other settings in the code win, without a word; what it says once more is kept."""
    done = python(
        """
        import tracekit
        tracing = tracekit.init("till", tags={"a": "b"})
        assert tracekit.init("till", tags={"a": "b"}) is tracing
        """
        + APP.replace("\n", "\n        "),
        TRACEKIT, "run", "--",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    (span,) = agent.wait(1)
    assert span.service == "till"


def test_the_path_alone_does_the_same(python, agent):
    """What a Kubernetes operator injects is a directory and a variable."""
    import tracekit  # noqa: PLC0415

    site = os.path.join(os.path.dirname(tracekit.__file__), "_instrument", "site")  # noqa: PTH118, PTH120
    assert python(APP, path=site).stderr == ""
    assert agent.wait(1)


def test_the_launcher_imports_little(environ, tmp_path):
    """It is an interpreter more before the program: what it imported would be waited for."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "os.execvpe = lambda *_: print(*sorted(set(sys.modules) - before))\n"
        "before = set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", "from tracekit._cli.main import main; main(['run', '-v', 'x'])"],
        env={**environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    imported = set(done.stdout.split())
    assert "tracekit._cli.run" in imported, done.stderr
    slow = {"argparse", "enum", "pathlib", "re", "shutil", "typing", "opentelemetry"}
    assert not imported & slow


def test_a_start_under_it_loads_few_modules(environ, package):
    """Instrumentors are found without the parsers that look-ups of metadata bring along."""
    path = package("instrumentor", "", "parcels = instrumentor:It", "parcels >= 1.0")
    tell = "import sys; print(*sys.modules)"
    init = f"import tracekit; tracekit.init(); {tell}"
    loaded = [
        subprocess.run(
            [*command, tell if "run" in command else init],
            env={**environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True,
        ).stdout.split()
        for command in ([sys.executable, "-c"], [TRACEKIT, "run", "--", sys.executable, "-c"])
    ]  # fmt: skip
    more = {name for name in set(loaded[1]) - set(loaded[0]) if not name.startswith("tracekit.")}
    assert more <= {"sitecustomize"}


@pytest.mark.slow
def test_it_adds_little_more_than_init_takes(environ, package):
    """Whatever is installed: 200 distributions with entry points, 50 of them instrumentors."""
    for number in range(200):
        group = "opentelemetry_instrumentor" if number % 4 == 0 else "console_scripts"
        path = package(f"p{number}", "", f"p{number} = p{number}:It", f"q{number}", group)

    def took(*command):
        """Return the CPU seconds: what else the machine does is in none of them."""
        began = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, env={**environ, "PYTHONPATH": path}, check=True)
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime

    bare, init, run = [], [], []
    for _ in range(15):
        bare.append(took(sys.executable, "-c", "pass"))
        init.append(took(sys.executable, "-c", "import tracekit; tracekit.init()"))
        run.append(took(TRACEKIT, "run", "--", sys.executable, "-c", "pass"))
    ratio = (min(run) - min(bare)) / (min(init) - min(bare))
    print(f"ratio {ratio:.2f}: {min(bare):.3f} {min(init):.3f} {min(run):.3f}")
    assert ratio < 1.5  # 1.1 on a machine of its own
