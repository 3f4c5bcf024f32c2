"""``tracekit check``: a verdict and a next step for each state that a receiver can be in."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from concurrent import futures

import grpc
import pytest
import trustme
from ports import free_port

import tracekit
from tracekit._causes import Cause
from tracekit._cli import standing
from tracekit._cli.check import main
from tracekit.local import Receiver, SamplingServer
from tracekit.propagation import Remote, encode
from tracekit.sampling import Strategy
from tracekit.testing import MemoryTransport
from tracekit.transport import SendResult

ALL = {
    "JAEGER_SERVICE_NAME": "shop",
    "JAEGER_SAMPLER_TYPE": "const",
    "JAEGER_SAMPLER_PARAM": "1",
}
EXPORT = "opentelemetry.proto.collector.trace.v1.TraceService"
SOON = 20.0


@pytest.fixture
def check(monkeypatch, capsys):
    """Run the command here with exactly ``environ``: its status, and verdicts by name."""

    def run(*arguments, **environ):
        monkeypatch.setattr("os.environ", {**ALL, **environ})
        status = main(["--json", *arguments])
        report = json.loads(capsys.readouterr().out)
        assert report["status"] == status
        return status, {each["check"]: each for each in report["checks"]}

    return run


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers each POST as its server says."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        status, kind, body = self.server.answer
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_details):
        pass


class QuietServer(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        pass  # clients that hang up are what is tested


@contextlib.contextmanager
def collector(status=202, body=b"", kind="text/plain", tls=None):
    """Serve one answer on a port of its own; ``tls`` is a server's context."""
    with QuietServer(("127.0.0.1", 0), Answers) as server:
        server.answer = status, kind, body
        if tls is not None:
            server.socket = tls.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def authority(tmp_path):
    """Return a server's TLS context for 127.0.0.1, and the file of who signed it."""
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    file = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(file))
    return context, str(file)


def thrift(port, scheme="http"):
    return {"JAEGER_ENDPOINT": f"{scheme}://127.0.0.1:{port}/api/traces"}


# --- UDP ---


def test_udp_says_no_more_of_an_agent(check):
    """That it listens is well; nothing can be acknowledged, and the verdict says so."""
    with Receiver() as agent:
        status, found = check(JAEGER_AGENT_HOST="127.0.0.1", JAEGER_AGENT_PORT=str(agent.port))
        assert list(agent.wait(0)) == []
    assert status == 0
    assert "UDP cannot say more" in found["destination"]["said"]
    assert "--send" in found["destination"]["next_step"]


def test_an_absent_agent_is_a_refusal(check):
    """With the address, and where to say another one."""
    port = free_port(socket.SOCK_DGRAM)
    status, found = check(JAEGER_AGENT_HOST="127.0.0.1", JAEGER_AGENT_PORT=str(port))
    assert status == 1
    assert str(port) in found["destination"]["said"]
    assert found["destination"]["next_step"] == Cause.NOBODY_HERE.remedy


def test_a_host_without_an_address(check):
    """The name is told, and nothing is sent anywhere."""
    status, found = check(JAEGER_AGENT_HOST="no-such-host.invalid")
    assert (status, found["address"]["result"]) == (1, "fail")
    assert "no-such-host.invalid" in found["address"]["said"]
    assert "destination" not in found


def test_a_marked_span_is_sent_when_asked(check):
    """Whatever the sampler: its trace is named as the receiver got it."""
    with Receiver() as agent:
        status, found = check(
            "--send",
            JAEGER_AGENT_HOST="127.0.0.1",
            JAEGER_AGENT_PORT=str(agent.port),
            JAEGER_SAMPLER_PARAM="0",
        )
        (span,) = agent.wait(1, timeout_s=SOON)
    assert status == 0
    assert (span.operation, span.tags["tracekit.check"]) == ("tracekit check", True)
    assert f"{span.trace_id:032x}" in found["span"]["said"]


# --- HTTP ---


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        ((401, b"who are you"), Cause.UNAUTHORIZED),
        ((403, b""), Cause.UNAUTHORIZED),
        ((404, b""), Cause.NOT_FOUND),
        ((405, b""), Cause.NO_COLLECTOR),
        ((302, b""), Cause.NO_COLLECTOR),
        ((200, b"<!DOCTYPE html><title>Log in</title>"), Cause.NO_COLLECTOR),
        ((503, b""), Cause.BUSY),
    ],
    ids=lambda value: str(value[0]) if isinstance(value, tuple) else value.value,
)
@pytest.mark.parametrize("wire", ["http", "otlp-http"])
def test_each_answer_has_its_verdict(check, answer, cause, wire):
    """Credentials, path, another server, overload: each with its own next step."""
    with collector(*answer) as port:
        environ = (
            thrift(port)
            if wire == "http"
            else {
                "TRACEKIT_TRANSPORT": wire,
                "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            }
        )
        status, found = check(**environ)
    assert status == 1
    assert found["destination"]["said"].startswith(f"{cause.value}:")
    assert found["destination"]["next_step"] == cause.remedy


@pytest.mark.parametrize("wire", ["http", "otlp-http"])
def test_a_collector_that_takes_batches(check, wire):
    """An empty batch is taken: all is well."""
    with collector(202 if wire == "http" else 200) as port:
        status, found = check(
            **thrift(port) if wire == "http" else {
                "TRACEKIT_TRANSPORT": wire,
                "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            }
        )  # fmt: skip
    assert (status, found["destination"]["result"]) == (0, "ok")


def test_a_refused_connection(check):
    """Nobody listens on the port."""
    status, found = check(**thrift(free_port()))
    assert status == 1
    assert found["destination"]["next_step"] == Cause.NOBODY_HERE.remedy


def test_a_server_that_never_answers(check):
    """The time for the question is up."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        status, found = check("--timeout", "0.3", **thrift(silent.getsockname()[1]))
    assert status == 1
    assert found["destination"]["said"].startswith(f"{Cause.TIMED_OUT.value}:")


def test_an_untrusted_certificate(check, authority):
    """The variable that names the authority is the next step, and it is enough."""
    context, file = authority
    with collector(tls=context) as port:
        status, found = check(**thrift(port, "https"))
        assert (status, found["destination"]["next_step"]) == (1, Cause.UNTRUSTED.remedy)
        status, found = check(**thrift(port, "https"), TRACEKIT_CA_FILE=file)
        assert (status, found["certificates"]["result"]) == (0, "ok")


def test_tls_on_one_side_only(check, authority):
    """The scheme of the endpoint is wrong, this way or that."""
    context, file = authority
    with collector() as port:
        status, found = check(**thrift(port, "https"))
        assert (status, found["destination"]["next_step"]) == (1, Cause.NO_TLS.remedy)
    with collector(tls=context) as port:
        status, found = check(**thrift(port), TRACEKIT_CA_FILE=file)
        assert (status, found["destination"]["next_step"]) == (1, Cause.TLS_ONLY.remedy)


def test_a_certificate_file_that_is_missing(check, tmp_path):
    """It is told by its name before anything is sent."""
    status, found = check(
        **thrift(free_port(), "https"), TRACEKIT_CA_FILE=str(tmp_path / "none.pem")
    )
    assert (status, found["certificates"]["result"]) == (1, "fail")
    assert "none.pem" in found["certificates"]["said"]


# --- OTLP over gRPC ---


@contextlib.contextmanager
def grpc_collector(code=None, tls=None, service=EXPORT):
    def export(_request, context):
        if code is not None:
            context.abort(code, "no")
        return b""

    server = grpc.server(futures.ThreadPoolExecutor(2))
    handler = grpc.unary_unary_rpc_method_handler(export)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {"Export": handler}),)
    )
    port = (
        server.add_insecure_port("127.0.0.1:0")
        if tls is None
        else server.add_secure_port("127.0.0.1:0", tls)
    )
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()


def over_grpc(port, scheme="http"):
    return {
        "TRACEKIT_TRANSPORT": "otlp-grpc",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"{scheme}://127.0.0.1:{port}",
    }


def test_a_collector_that_takes_calls(check):
    """An empty export is answered."""
    with grpc_collector() as port:
        status, found = check(**over_grpc(port))
    assert (status, found["destination"]["result"]) == (0, "ok")
    assert found["packages"]["result"] == "ok"


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, Cause.UNAUTHORIZED),
        (grpc.StatusCode.PERMISSION_DENIED, Cause.UNAUTHORIZED),
        (grpc.StatusCode.UNAVAILABLE, Cause.BUSY),
    ],
)
def test_what_a_call_is_answered_with(check, code, cause):
    """A status of the server is no refused connection."""
    with grpc_collector(code) as port:
        status, found = check(**over_grpc(port))
    assert (status, found["destination"]["next_step"]) == (1, cause.remedy)


def test_another_service_is_no_collector(check):
    """GRPC is spoken, the method is unknown."""
    with grpc_collector(service="some.other.Service") as port:
        status, found = check(**over_grpc(port))
    assert (status, found["destination"]["next_step"]) == (1, Cause.NO_COLLECTOR.remedy)


def test_tls_over_grpc_fails_by_name(check):
    """Untrusted, plain to TLS and TLS to plain; never the refusal of another address."""
    ca = trustme.CA()
    leaf = ca.issue_cert("127.0.0.1", "localhost")
    pair = (leaf.private_key_pem.bytes(), leaf.cert_chain_pems[0].bytes())
    with grpc_collector(tls=grpc.ssl_server_credentials([pair])) as port:
        _, found = check(**over_grpc(port, "https"))
        assert found["destination"]["next_step"] == Cause.UNTRUSTED.remedy
        _, found = check(
            TRACEKIT_TRANSPORT="otlp-grpc",
            OTEL_EXPORTER_OTLP_ENDPOINT=f"https://localhost:{port}",
        )
        assert found["destination"]["next_step"] == Cause.UNTRUSTED.remedy
        _, found = check(**over_grpc(port))
        assert found["destination"]["next_step"] == Cause.TLS_ONLY.remedy
    with grpc_collector() as port:
        _, found = check(**over_grpc(port, "https"))
        assert found["destination"]["next_step"] == Cause.NO_TLS.remedy
    status, found = check(**over_grpc(free_port()))
    assert (status, found["destination"]["next_step"]) == (1, Cause.NOBODY_HERE.remedy)


# --- what asks nobody, and what asks the sampling server ---


def test_the_sampling_server_says_its_orders(check):
    """For this service, in its words; one that is not there is a failure if it was chosen."""
    with Receiver() as agent, SamplingServer() as server:
        server.serve(Strategy("probabilistic", 0.25))
        here = {
            "JAEGER_AGENT_HOST": "127.0.0.1",
            "JAEGER_AGENT_PORT": str(agent.port),
            "JAEGER_SAMPLER_TYPE": "remote",
        }
        status, found = check(**here, JAEGER_SAMPLING_ENDPOINT=server.endpoint)
        assert status == 0
        assert "0.25" in found["sampling server"]["said"]
        assert server.asked == ["shop"]
        nobody = f"http://127.0.0.1:{free_port()}/sampling"
        status, found = check(**here, JAEGER_SAMPLING_ENDPOINT=nobody)
        assert (status, found["sampling server"]["result"]) == (1, "fail")


def test_a_bad_setting_is_status_2(check):
    """Whatever else is found."""
    with Receiver() as agent:
        status, _ = check(
            JAEGER_AGENT_HOST="127.0.0.1",
            JAEGER_AGENT_PORT=str(agent.port),
            JAEGER_SAMPLER_PARAM="lots",
        )
    assert status == 2


def test_the_second_destination_is_checked(check):
    """Under a name of its own."""
    with Receiver() as agent:
        status, found = check(
            JAEGER_AGENT_HOST="127.0.0.1",
            JAEGER_AGENT_PORT=str(agent.port),
            TRACEKIT_ALSO=f"http://127.0.0.1:{free_port()}",
        )
    assert status == 1
    assert found["destination"]["result"] == "ok"
    assert found["also: destination"]["next_step"] == Cause.NOBODY_HERE.remedy


def test_secrets_are_masked(check):
    """In the endpoint and in what a server says."""
    with collector(401, b"no") as port:
        _, found = check(
            JAEGER_ENDPOINT=f"http://ann:hunter2@127.0.0.1:{port}/api/traces?token=hunter2"
        )
    assert "hunter2" not in json.dumps(found)


@pytest.mark.parametrize(
    ("environ", "modules", "said"),
    [
        ({"GUNICORN_CMD_ARGS": "--preload -w 4"}, (), "--preload"),
        ({}, ("gunicorn",), "gunicorn forks workers"),
        ({"WERKZEUG_RUN_MAIN": "true"}, (), "reloader's child"),
        ({"FLASK_DEBUG": "1"}, (), "starts the program twice"),
        ({}, ("uwsgi",), "without threads"),
        ({}, ("gevent.monkey",), "gevent"),
    ],
)
def test_kinds_of_processes_are_recognised(environ, modules, said):
    """By what the server sets, or by what is loaded."""
    assert said in " ".join(each.said for each in standing.of_process(environ, modules))


def test_unread_mesh_formats_are_told(check):
    """Where Istio's sidecar sets its variables, and the default reads neither of its formats."""
    with Receiver() as agent:
        here = {"JAEGER_AGENT_PORT": str(agent.port), "ISTIO_META_MESH_ID": "m"}
        _, found = check(**here)
        assert found["propagation"]["next_step"] == "JAEGER_PROPAGATION=jaeger,b3,w3c"
        _, found = check(**here, JAEGER_PROPAGATION="b3")
        assert found["propagation"]["result"] == "ok"


@pytest.mark.parametrize("without", [False, True])
def test_a_package_that_the_settings_need(without):
    """Where it is not there, that is a failure, and the line that installs it is the next step."""
    program = "import runpy, sys\nsys.argv = ['tracekit', 'check', '--json']\n"
    if without:
        program += "sys.modules['grpc'] = None\n"
    program += "runpy.run_module('tracekit', run_name='__main__')"
    with grpc_collector() as port:
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | ALL | over_grpc(port),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    (found,) = [each for each in json.loads(done.stdout)["checks"] if each["check"] == "packages"]
    assert done.returncode == int(without), done.stdout
    assert found["result"] == ("fail" if without else "ok")
    assert ("tracekit-jaeger[otlp]" in (found["next_step"] or "")) is without


def test_colours_only_where_they_are_wanted():
    """A pipe gets plain lines; the status is that of the checks."""
    command = [sys.executable, "-m", "tracekit", "check", "transport=none"]
    plain = subprocess.run(
        command, env=os.environ | ALL, capture_output=True, text=True, timeout=60, check=True
    )
    assert "\x1b" not in plain.stdout
    forced = subprocess.run(
        command,
        env=os.environ | ALL | {"FORCE_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "all is well" in forced.stdout


# --- the running process ---


def test_the_report_of_a_running_process():
    """What came, what went, why it did not, the settings; no secret, and nothing is sent."""
    wire = MemoryTransport(lambda _payload: SendResult.retry("10.0.0.1 refuses"))
    tracing = tracekit.init(
        "shop", environ={}, set_global=False, transport=wire, sampler_type="const",
        sampler_param=1, auth_token="hunter2",
    )  # fmt: skip
    try:
        tracing.propagator.extract(encode("b3", Remote(1, 2, sampled=True)))
        tracing.tracer("t").start_span("work").end()
        tracing.flush(0.1)
        said = tracekit.report(tracing)
    finally:
        tracing.shutdown(0.1)
    assert "10.0.0.1 refuses" in said
    assert "JAEGER_PROPAGATION=jaeger,b3" in said
    assert "queue_size" in said
    assert "hunter2" not in said
