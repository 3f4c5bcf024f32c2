"""``tracekit env``: what it prints, as a table and as JSON, and its exit status."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tracekit._cli.env import main
from tracekit._config.schema import SETTINGS

PASSWORD = {
    "JAEGER_SERVICE_NAME": "shop",
    "JAEGER_ENDPOINT": "http://ann:hunter2@c/x",
    "JAEGER_USER": "ann",
    "JAEGER_PASSWORD": "hunter2",
}


@pytest.fixture
def report(monkeypatch, capsys):
    """Run the command in this process with exactly ``environ``."""

    def report(*arguments, **environ):
        monkeypatch.setattr("os.environ", environ)
        status = main(arguments)
        return status, capsys.readouterr().out

    return report


def test_every_setting_has_a_row(report):
    """Name, value and source, for all of them."""
    status, out = report(JAEGER_SERVICE_NAME="shop", JAEGER_AGENT_HOST="h")
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line}
    assert status == 0
    assert set(SETTINGS) <= rows.keys()
    assert rows["agent_host"] == ["agent_host", "h", "JAEGER_AGENT_HOST"]
    assert rows["agent_port"] == ["agent_port", "6831", "default"]
    assert rows["extract_order"] == ["extract_order", "first", "default"]


def test_json_holds_values_and_their_sources(report, tmp_path):
    """Default, variable, file with its line, argument."""
    file = tmp_path / "t.yaml"
    file.write_text("\nsampler:\n  param: 0.5\n")
    status, out = report(
        "--json",
        "queue_size=7",
        JAEGER_SERVICE_NAME="shop",
        TRACEKIT_CONFIG_FILE=str(file),
    )
    found = json.loads(out)
    assert status == 0
    assert found["problems"] == []
    rows = found["settings"]
    assert rows["queue_size"] == {"value": 7, "source": "argument queue_size"}
    assert rows["sampler_param"] == {"value": 0.5, "source": f"{file}:3"}
    assert rows["service_name"] == {"value": "shop", "source": "JAEGER_SERVICE_NAME"}
    assert rows["sampler_type"] == {"value": "remote", "source": "default"}


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_bad_setting_makes_the_status_2(report, form):
    """It is told, so that a deployment can be checked before it is rolled out."""
    status, out = report(*form, JAEGER_SERVICE_NAME="shop", JAEGER_AGENT_PORT="sixty")
    assert status == 2
    assert "JAEGER_AGENT_PORT" in out
    assert "sixty" in out


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_secrets_are_masked(report, form):
    """In the table and in JSON: password, authorization, and the password in a URL."""
    status, out = report(*form, **PASSWORD)
    assert status == 0
    assert "hunter2" not in out
    assert "http://***@c/x" in out


def test_a_name_that_is_no_setting_is_misuse(report, capsys):
    """One line with a suggestion, status 2, no traceback."""
    with pytest.raises(SystemExit) as caught:
        report("quee_size=7")
    assert caught.value.code == 2
    assert "did you mean 'queue_size'?" in capsys.readouterr().err


def test_control_characters_are_quoted(report):
    """Escape sequences in a tag are shown, not sent."""
    _, out = report(JAEGER_TAGS="a=\x1b[31m")
    assert "\x1b" not in out


def test_an_ascii_terminal_gets_escapes(monkeypatch):
    """Old locales cannot show every service's name: no traceback."""
    screen = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", screen)
    monkeypatch.setattr("os.environ", {"JAEGER_SERVICE_NAME": "k\u00e4se"})
    assert main(()) == 0
    screen.seek(0)
    assert "k\\xe4se" in screen.read()


@pytest.mark.integration
def test_the_installed_command_prints(tmp_path):
    """The console script, in a process of its own, without a traceback for bad values."""
    command = Path(sys.executable).with_name("tracekit")
    done = subprocess.run(
        [command, "env", "--json"],
        env={"JAEGER_SERVICE_NAME": "shop", "JAEGER_SAMPLER_PARAM": "\udcff"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr == ""
    assert json.loads(done.stdout)["settings"]["service_name"]["value"] == "shop"


def test_only_what_was_changed(report):
    """``--changed`` leaves out what is as by default, in both forms."""
    environ = {"JAEGER_SERVICE_NAME": "shop", "JAEGER_REPORTER_MAX_QUEUE_SIZE": "7"}
    _, out = report("--changed", "--json", **environ)
    assert set(json.loads(out)["settings"]) == {"service_name", "queue_size"}
    _, out = report("--changed", **environ)
    assert "queue_size" in out
    assert "agent_port" not in out
