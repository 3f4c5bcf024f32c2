"""No value of any variable, file, dictionary or argument makes settings raise or leak a secret."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tracekit._config import variables
from tracekit._config.schema import SETTINGS
from tracekit.errors import ConfigError
from tracekit.settings import Settings

# Lone surrogates are how os.environ holds bytes that are no UTF-8.
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=60)
PIECES = st.lists(
    st.sampled_from(
        [row.example for row in variables.ROWS]
        + [",", "=", ":", "/", "//", "[", "]", "%", "%zz", "${", "}", "${A:b}", "@", "-", "0", "9"]
        + ["1e999", "nan", "9" * 5000, "udp://10.0.0.1:5775", "::1", "ms", "true", "\x00", "\n"]
    ),
    max_size=5,
).map("".join)
VALUES = ANY_TEXT | PIECES
ENVIRONS = st.dictionaries(
    st.sampled_from([row.name for row in variables.ROWS]), VALUES, max_size=12
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(VALUES, inner, max_size=3),
    max_leaves=8,
)


def use_everything(found):
    """Do with settings whatever is done with them at the start of a process."""
    assert found == found  # noqa: PLR0124 - comparing must not raise either
    json.dumps([found.flat(), found.masked(), found.problems, found.notes])
    for shown in (repr(found), found.summary(), *map(str, found.problems), *found.notes):
        shown.encode("utf-8")
    assert set(found.sources) == set(SETTINGS)


@settings(max_examples=400, deadline=None)
@given(ENVIRONS)
def test_no_environment_makes_settings_raise(environ):
    """Whatever stands in the variables: settings, and one report; strict raises that report."""
    found = Settings.from_env(environ)
    use_everything(found)
    if found.problems:
        with pytest.raises(ConfigError) as caught:
            Settings.from_env(environ, strict=True)
        assert caught.value.problems == found.problems
    else:
        assert Settings.from_env(environ, strict=True) == found


@pytest.mark.parametrize("row", variables.ROWS, ids=lambda row: row.name)
@settings(max_examples=8, deadline=None)
@given(written=VALUES)
def test_no_text_makes_settings_raise(row, written):
    """Row by row: any text in one variable, with its neighbours at examples so that it matters."""
    environ = {other.name: other.example for other in variables.ROWS if other.wire == row.wire}
    use_everything(Settings.from_env({**environ, row.name: written}))
    use_everything(Settings.from_env({row.name: written}))


@settings(max_examples=100, deadline=None)
@given(ENVIRONS, st.sampled_from(["JAEGER_DISABLED", "JAEGER_DISABLE"]))
def test_disabled_beats_every_validation(environ, name):
    """A disabled tracer has no problems, whatever else is set, strict or not."""
    for other in ("JAEGER_DISABLED", "JAEGER_DISABLE"):
        environ.pop(other, None)
    found = Settings.from_env({**environ, name: "true"}, strict=True)
    assert found.disabled
    assert found.problems == ()


@settings(max_examples=150, deadline=None)
@example({"transport": [None]})
@given(st.dictionaries(st.sampled_from([*SETTINGS, "sampler", "limits", "kind"]) | VALUES, JSON))
def test_no_file_makes_settings_raise(tmp_path_factory, document):
    """Any JSON document, as JSON and as YAML (of which JSON is nearly a part)."""
    directory = tmp_path_factory.getbasetemp()
    for name in ("any.json", "any.yaml"):
        file = directory / name
        file.write_text(json.dumps(document))
        use_everything(Settings.from_file(file))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=80) | PIECES.map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_no_bytes_make_settings_raise(tmp_path_factory, content):
    """A file of anything is one problem."""
    for name in ("bytes.json", "bytes.yaml"):
        file = tmp_path_factory.getbasetemp() / name
        file.write_bytes(content)
        use_everything(Settings.from_file(file))


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from([*SETTINGS, "disabled"]), JSON))
def test_no_argument_makes_settings_raise(fields):
    """A value of the wrong type is a problem too; only an unknown name is a TypeError."""
    use_everything(Settings.resolve(environ={}, **fields))


DICTIONARY_KEYS = st.sampled_from(["sampler", "local_agent", "tags", "enabled", "propagation"])


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(DICTIONARY_KEYS | VALUES, JSON))
def test_no_dictionary_makes_settings_raise(config):
    """The jaeger_client dictionary may hold anything as well."""
    use_everything(Settings.from_jaeger_config(config, "x"))


SECRETS = ["JAEGER_PASSWORD", "JAEGER_REPORTER_PASSWORD", "JAEGER_AUTH_TOKEN"]
SECRETS += ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"]


@settings(max_examples=150, deadline=None)
@given(
    ENVIRONS,
    st.sampled_from(SECRETS),
    st.sampled_from(["{}", "authorization={}", "{}\x07", "a=b,{}", "a={},b", "\u20ac{}"]),
)
def test_a_secret_is_never_shown(environ, name, form):
    """Good or bad, in a header or alone: it stands in no report, repr, summary or exception."""
    secret = "hunter2-hunter2"
    found = Settings.from_env({**environ, name: form.format(secret)})
    shown = [repr(found), found.summary(), json.dumps(found.masked()), *found.notes]
    with contextlib.suppress(ConfigError):
        Settings.from_env({**environ, name: form.format(secret)}, strict=True)
    assert not [text for text in (*shown, str(found.problems)) if secret in text]


@pytest.mark.parametrize(
    "environ",
    [
        {"JAEGER_ENDPOINT": "http://ann:hunter2@collector/x"},
        {"JAEGER_ENDPOINT": "htp://ann:hunter2@collector/x"},
        {"JAEGER_ENDPOINT": "ann:hunter2@collector"},
        {"JAEGER_SAMPLING_ENDPOINT": "http://ann:hunter2@agent:5778/sampling"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://ann:hunter2@agent:5778"},
        {
            "OTEL_TRACES_SAMPLER": "jaeger_remote",
            "OTEL_TRACES_SAMPLER_ARG": "endpoint=http://a:hunter2@h",
        },
        {
            "OTEL_TRACES_SAMPLER": "jaeger_remote",
            "OTEL_TRACES_SAMPLER_ARG": "endpoint=http://a:hunter2@h,x",
        },
    ],
)
def test_a_urls_password_is_never_shown(environ):
    """URLs carry passwords as well, in good values and in bad ones."""
    found = Settings.from_env(environ)
    shown = (repr(found), found.summary(), json.dumps(found.masked()), str(found.problems))
    assert not [text for text in shown if "hunter2" in text]
