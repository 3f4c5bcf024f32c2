"""``tracekit.instrument()``: what goes on, when, and what it takes to stay off."""

from __future__ import annotations

import json

import pytest

INIT = """
import json, sys, tracekit
tracing = tracekit.init(transport="none", sampler_type="const", sampler_param=1)
"""
INSTRUMENTOR = """
import parcels
print("instrumentor imported")

class Instrumentor:
    is_instrumented_by_opentelemetry = False
    def instrumentation_dependencies(self):
        return ()
    def instrument(self, **options):
        tracer = options["tracer_provider"].get_tracer("parcels")
        bare = self.bare = parcels.send
        def send():
            with tracer.start_as_current_span("send"):
                return bare()
        parcels.send = send
    def uninstrument(self, **options):
        parcels.send = self.bare
"""


@pytest.fixture
def parcels(package):
    package("parcels", "def send(): return 'sent'\n")
    return package(
        "instrumentor", INSTRUMENTOR, "parcels = instrumentor:Instrumentor", "parcels >= 1.0"
    )


def shown(done):
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_an_edge_goes_on_at_the_import(python):
    """Nothing is imported for tracing's sake, and the first names a program takes are traced."""
    lines = shown(
        python(
            INIT
            + """
done = tracekit.instrument()
print("flask" in sys.modules, "flask" in done.done, "flask" in done.waiting)
from flask import Flask
print("flask" in done.done, "flask" in done.waiting, done.failed)
app = Flask("shop")
app.add_url_rule("/a/<n>", view_func=lambda n: n, endpoint="a")
app.test_client().get("/a/1")
print(tracing.stats().started)
done.undo()
print(done.done)
Flask("other").test_client().get("/a/1")
print(tracing.stats().started)
"""
        )
    )
    assert lines == ["False False True", "True False {}", "1", "()", "1"]


def test_a_module_sees_its_own_loader(python):
    """While loading and after: resources, ``inspect``, ``pkgutil`` find what they find bare."""
    lines = shown(
        python(
            INIT
            + """
import importlib.resources, importlib.util
done = tracekit.instrument()
spec = importlib.util.find_spec("flask")
print(spec.loader.is_package("flask"), spec.origin.endswith("__init__.py"))
import flask
print(type(flask.__loader__).__name__, type(flask.__spec__.loader).__name__)
print(importlib.resources.files("flask").joinpath("app.py").is_file())
"""
        )
    )
    assert lines == ["True True", "SourceFileLoader SourceFileLoader", "True"]


def test_what_is_imported_is_traced_at_once(python):
    """A program may instrument late."""
    program = "import requests, grpc\n" + INIT + "print(tracekit.instrument().done)"
    (line,) = shown(python(program))
    assert "'requests'" in line
    assert "'grpc'" in line
    assert "'logging'" in line


def test_contribs_instrumentors_wait(python, parcels):
    """Its spans are of our handle, and ``undo`` takes it off again."""
    lines = shown(
        python(
            INIT
            + """
done = tracekit.instrument()
print("waiting", "parcels" in done.waiting)
import parcels
print(parcels.send(), tracing.stats().started, "parcels" in done.done)
done.undo()
print(parcels.send(), tracing.stats().started)
""",
            path=parcels,
        )
    )
    assert lines == ["waiting True", "instrumentor imported", "sent 1 True", "sent 1"]


def test_a_broken_instrumentor_is_told(python, package):
    """In one warning that names it. Whatever it raises, the import succeeds, the rest goes on."""
    package("parcels", "def send(): return 'sent'\n")
    path = package("broken", "raise RuntimeError('rotten')", "parcels = broken:It", "parcels")
    done = python(
        INIT
        + """
done = tracekit.instrument()
import parcels, requests
print(parcels.send(), json.dumps(done.failed), "requests" in done.done)
""",
        path=path,
    )
    assert shown(done) == ['sent {"parcels": "RuntimeError: rotten"} True']
    assert done.stderr.count("parcels") == 1
    assert "instrument: parcels is not traced: RuntimeError: rotten" in done.stderr


def test_an_instrumentor_has_its_versions(python, package):
    """Contrib says which each is made for; for another it is not put on, and is named."""
    package("parcels", "def send(): return 'sent'\n", "", "")
    source = INSTRUMENTOR.replace("return ()", "return ('parcels >= 9',)")
    path = package("instrumentor", source, "parcels = instrumentor:Instrumentor", "parcels")
    done = python(
        INIT + "done = tracekit.instrument()\nimport parcels\nprint(json.dumps(done.failed))",
        path=path,
    )
    failed = json.loads(shown(done)[-1])
    assert "parcels >= 9" in failed["parcels"]
    assert done.stderr.count("parcels is not traced") == 1


@pytest.mark.parametrize(
    ("arguments", "variables", "on"),
    [
        ("", {}, {"logging", "requests", "grpc"}),
        ("only=['requests']", {}, {"requests"}),
        ("only='requests'", {}, {"requests"}),
        ("without=['requests']", {}, {"logging", "grpc"}),
        ("", {"TRACEKIT_INSTRUMENT": "Requests, logging"}, {"logging", "requests"}),
        ("", {"TRACEKIT_INSTRUMENT": "-requests,-logging"}, {"grpc"}),
        ("", {"TRACEKIT_INSTRUMENT": "requests,grpc,-grpc"}, {"requests"}),
        ("", {"TRACEKIT_INSTRUMENT": "-*"}, set()),
        ("only=['grpc']", {"TRACEKIT_INSTRUMENT": "requests"}, {"grpc"}),
        ("only=[]", {}, set()),
        ("only='requests, grpc'", {}, {"requests", "grpc"}),
        ("without='requests,grpc'", {}, {"logging"}),
        ("", {"TRACEKIT_INSTRUMENT": ""}, {"logging", "requests", "grpc"}),
        ("", {"TRACEKIT_INSTRUMENT": "grpc,,grpc, GRPC ,"}, {"grpc"}),
        (
            "",
            {
                "TRACEKIT_INSTRUMENT": "requests,grpc",
                "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "grpc_client",
            },
            {"requests"},
        ),
        (
            "",
            {"TRACEKIT_INSTRUMENT": "grpc", "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "*"},
            set(),
        ),
        ("", {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "requests,grpc_client"}, {"logging"}),
        ("", {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "*"}, set()),
        (
            "only=['requests', 'grpc']",
            {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "*"},
            {"requests", "grpc"},
        ),
        (
            "",
            {
                "TRACEKIT_INSTRUMENT": "-grpc",
                "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "logging",
            },
            {"requests"},
        ),
    ],
)
def test_what_goes_on_can_be_chosen(python, arguments, variables, on):
    """Arguments win over the setting; what OpenTelemetry's variable forbids stays off."""
    done = python(
        INIT
        + f"import requests, grpc\ndone = tracekit.instrument({arguments})\n"
        + "print(json.dumps([done.done, done.failed]))",
        **variables,
    )
    names, failed = json.loads(shown(done)[0])
    assert (set(names) & {"logging", "requests", "grpc"}, failed) == (on, {})


def test_an_unknown_name_has_a_suggestion(python):
    """A typing error does not silently trace too much or too little."""
    done = python(INIT + "tracekit.instrument(only=['reqests'])")
    assert "instrument: nothing is called 'reqests' (did you mean requests?)" in done.stderr


def test_a_programs_own_tracing_comes_first(python):
    """Its ``FlaskTracing`` comes before the launcher's, also where it traces less."""
    lines = shown(
        python(
            INIT
            + """
tracekit.instrument()
import flask, tracekit.flask
def started(**options):
    app = flask.Flask("shop")
    app.add_url_rule("/quiet", view_func=lambda: "a", endpoint="a")
    tracekit.flask.FlaskTracing(app, **options)
    before = tracing.stats().started
    assert app.test_client().get("/quiet").status_code == 200
    return tracing.stats().started - before
print(started(), started(exclude=["/quiet"]), started(trace_all=False))
"""
        )
    )
    assert lines == ["1 0 0"]


def test_a_replaced_class_hides_none(python):
    """Contrib puts a subclass of its own at ``flask.Flask``; both kinds of applications count."""
    lines = shown(
        python(
            INIT
            + """
import flask
from flask import Flask
class Replaced(flask.Flask):
    def __init__(self, *args, **named):
        super().__init__(*args, **named)
flask.Flask = Replaced
tracekit.instrument()
for kind in (Flask, flask.Flask):
    app = kind("shop")
    app.add_url_rule("/a", view_func=lambda: "a", endpoint="a")
    app.test_client().get("/a")
    print(tracing.stats().started)
"""
        )
    )
    assert lines == ["1", "2"]


def test_instrumenting_twice_traces_once(python):
    """A launcher and a program may both do it."""
    lines = shown(
        python(
            INIT
            + """
tracekit.instrument(); tracekit.instrument()
import flask
app = flask.Flask("shop")
app.add_url_rule("/a", view_func=lambda: "a", endpoint="a")
app.test_client().get("/a")
print(tracing.stats().started)
"""
        )
    )
    assert lines == ["1"]


def test_an_earlier_finder_only_delays(python, package):
    """Import hooks of others may find a package first; the next import that we see catches up."""
    lines = shown(
        python(
            INIT
            + """
done = tracekit.instrument()
ours = sys.meta_path.pop(0)
import flask
sys.meta_path.insert(0, ours)
print("flask" in done.done)
import requests
print("flask" in done.done)
"""
        )
    )
    assert lines == ["False", "True"]


def test_instrumentors_may_need_each_other(python, package):
    """An instrumentor may need a package whose own instrumentor needs the first one's module."""
    package("parcels", "def send(): return 'sent'\n")
    package("labels", "def stick(): return 'stuck'\n", "labels = shared:Labels", "labels")
    path = package(
        "shared",
        """
        import labels
        class Parcels:
            def instrumentation_dependencies(self): return ()
            def instrument(self, **options): pass
            def uninstrument(self, **options): pass
        class Labels(Parcels): pass
        """,
        "parcels = shared:Parcels",
        "parcels",
    )
    done = python(
        INIT
        + "done = tracekit.instrument()\nimport parcels\n"
        + "print(json.dumps([sorted({'parcels', 'labels'} & set(done.done)), done.failed]))",
        path=path,
    )
    assert shown(done) == ['[["labels", "parcels"], {}]']


BROKEN = """
class Panic(BaseException):
    pass

class Instrumentor:
    def instrumentation_dependencies(self): return ()
    def instrument(self, **options): {on}
    def uninstrument(self, **options): {off}
"""


@pytest.mark.parametrize(
    ("on", "off", "said"),
    [
        ("raise RuntimeError('rotten')", "pass", "parcels is not traced: RuntimeError: rotten"),
        ("raise Panic('rotten')", "pass", "parcels is not traced: Panic: rotten"),
        ("raise SystemExit(3)", "pass", "parcels is not traced: SystemExit: 3"),
        ("pass", "raise Panic('rotten')", "parcels could not be taken back: rotten"),
    ],
)
def test_a_raising_instrumentor_is_told(python, package, on, off, said):
    """Whatever it raises and when, it costs one warning; a panic is no ``Exception``."""
    package("parcels", "def send(): return 'sent'\n")
    source = BROKEN.format(on=on, off=off)
    path = package("broken", source, "parcels = broken:Instrumentor", "parcels")
    done = python(
        INIT
        + "done = tracekit.instrument()\nimport parcels, requests\n"
        + "print('requests' in done.done)\ndone.undo()\nprint(parcels.send(), done.done)",
        path=path,
    )
    assert shown(done) == ["True", "sent ()"]
    assert done.stderr.count("parcels") == 1
    assert said in done.stderr


def test_any_of_several_packages_will_do(python, package):
    """An instrumentor for a library and its fork, whose import name is another form of the name."""
    package("parcels", "def send(): return 'sent'\n")
    path = package(
        "instrumentor", INSTRUMENTOR.replace("import parcels", "import parcels_ng as parcels"),
        "parcels = instrumentor:Instrumentor",
        'parcels; extra == "instruments-any"\nRequires-Dist: Parcels-NG >= 2',
    )  # fmt: skip
    package("parcels_ng", "def send(): return 'sent'\n")
    lines = shown(
        python(
            INIT
            + """
done = tracekit.instrument()
print("parcels" in done.done)
import parcels_ng
print(parcels_ng.send(), tracing.stats().started, "parcels" in done.done)
import parcels
print(done.undo(), parcels_ng.send(), tracing.stats().started)
""",
            path=path,
        )
    )
    assert lines == ["False", "instrumentor imported", "sent 1 True", "None sent 1"]


def test_undo_leaves_no_trace(python):
    """Each attribute of each module and class is the one that was there before; so are hooks."""
    done = python(
        INIT
        + """
import types
import flask, grpc, grpc.aio, logging, requests
for name in ("celery", "rq", "fastapi", "httpx", "aiohttp.web", "django.core.handlers.base"):
    try:
        __import__(name)
    except ImportError:
        pass
def held():
    found = {}
    for name, module in list(sys.modules.items()):
        if isinstance(module, types.ModuleType) and not name.startswith(("tracekit", "__m")):
            for key, value in list(vars(module).items()):
                found[name, key] = value
                if isinstance(value, type):
                    for each, part in list(vars(value).items()):
                        found[name, key, each] = part
    return found
tracekit.instrument().undo()  # what the edges import stays imported
before, path = held(), list(sys.meta_path)
done = tracekit.instrument()
on = held()
print("requests" in done.done, any(on.get(key) is not before[key] for key in before))
done.undo()
done.undo()
after = held()
known = {key[0] for key in before}
print([key for key in before if after.get(key) is not before[key]])
print([key for key in after if key[0] in known and key not in before])
print(sys.meta_path == path)
"""
    )
    assert shown(done) == ["True True", "[]", "[]", "True"]
