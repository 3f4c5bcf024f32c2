"""The command line's own part: words, help, and nothing imported before it is asked for."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from importlib import metadata

import pytest

import tracekit
from tracekit._cli.main import COMMANDS, main


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["--nonsense"]])
def test_a_wrong_word_is_misuse(arguments, capsys):
    """No command, an unknown one and a stray option end with status 2 and the list of commands."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == 2
    assert "tracekit [-h] [--version] COMMAND" in capsys.readouterr().err


def test_help_lists_every_command(capsys):
    """``--help`` names each command and what it is for."""
    with pytest.raises(SystemExit) as ended:
        main(["--help"])

    assert ended.value.code == 0
    told = capsys.readouterr().out
    for name, command in COMMANDS.items():
        assert f"{name:<8}{command.summary}" in told


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_its_module(name):
    """Each word leads to a module with a ``main``, and its ``--help`` says how to use it."""
    assert callable(importlib.import_module(COMMANDS[name].module).main)
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0


def test_the_command_line_needs_no_framework():
    """Loading the command imports no web framework, no gRPC and not the demo."""
    program = (
        "import sys, tracekit._cli.main;"
        "print(*{'flask', 'requests', 'grpc', 'tracekit._cli.demo'} & set(sys.modules))"
    )

    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )

    assert said.stdout.strip() == ""


def test_a_reader_that_leaves():
    """With the reading end of its output closed a command ends quietly with status 1."""
    with subprocess.Popen(
        [sys.executable, "-m", "tracekit._cli.main", "env"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as command:
        command.stdout.close()
        complaint = command.stderr.read()
        status = command.wait(60)

    assert (status, complaint) == (1, b"")


def test_ctrl_c_is_no_traceback(tmp_path):
    """It ends a command that waits, quietly and with the status that shells give."""
    never = tmp_path / "never"
    os.mkfifo(never)
    with (
        subprocess.Popen(
            [sys.executable, "-m", "tracekit._cli.main", "draw", str(never)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as command,
        never.open("wb"),
    ):  # returns when the command has opened it, too
        command.send_signal(signal.SIGINT)
        assert (command.wait(60), command.stdout.read()) == (130, b"")


@pytest.mark.parametrize("command", [["-m", "tracekit"], ["-m", "tracekit._cli.main"]])
def test_the_version_is_said(command):
    """As ``python -m tracekit`` too, and it is the one of the installed distribution."""
    said = subprocess.run(
        [sys.executable, *command, "--version"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert said.stdout.split() == ["tracekit", metadata.version("tracekit-jaeger")]
    assert tracekit.__version__ == metadata.version("tracekit-jaeger")
