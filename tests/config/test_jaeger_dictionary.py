"""The dictionary of ``jaeger_client.Config``: every key that the archived client read."""

from __future__ import annotations

import pytest

from tracekit.settings import Settings

EVERYTHING = {
    "service_name": "checkout",
    "enabled": True,
    "logging": True,
    "local_agent": {
        "enabled": True,
        "sampling_port": 5779,
        "reporting_host": "agent",
        "reporting_port": 6832,
    },
    "sampler": {"type": "rate_limiting", "param": 3},
    "tags": {"zone": "eu", "replica": 3},
    "reporter_batch_size": 20,
    "reporter_queue_size": 500,
    "reporter_flush_interval": 2,
    "sampling_refresh_interval": 30,
    "propagation": "b3",
    "max_tag_value_length": 512,
    "max_traceback_length": 1000,
    "trace_id_header": "X-Trace-ID",
    "baggage_header_prefix": "x-bag-",
    "debug_id_header": "x-debug",
    "throttler": {"port": 5778, "refresh_interval": 5},
    "max_operations": 100,
    "generate_128bit_trace_id": True,
    "metrics": object(),
}


def test_every_old_key_is_understood():
    """The keys that jaeger_client documents, with the units that it had."""
    settings = Settings.from_jaeger_config(EVERYTHING, strict=True)
    flat = settings.flat()
    expected = {
        "service_name": "checkout",
        "disabled": False,
        "log_spans": True,
        "agent_host": "agent",
        "agent_port": 6832,
        "transport": "udp",
        "sampler_type": "ratelimiting",
        "sampler_param": 3.0,
        "tags": {"zone": "eu", "replica": "3"},
        "max_batch_spans": 20,
        "queue_size": 500,
        "flush_s": 2.0,
        "sampler_refresh_s": 30.0,
        "propagation": ["b3"],
        "max_attribute_length": 512,
        "trace_id_header": "x-trace-id",
        "baggage_header_prefix": "x-bag-",
        "debug_id_header": "x-debug",
        "sampler_max_operations": 100,
        "traceid_128bit": True,
    }
    assert {name: flat[name] for name in expected} == expected


def test_true_makes_a_sampler_const():
    """``{'type': 'const', 'param': True}`` is what most samples of the old client say."""
    config = {"sampler": {"type": "const", "param": True}}
    assert Settings.from_jaeger_config(config, "x", strict=True).sampler.param == 1.0


def test_no_sampler_means_asking_the_agent():
    """The remote sampler is chosen by leaving the sampler out."""
    config = {"local_agent": {"reporting_host": "::1", "sampling_port": 99}}
    sampler = Settings.from_jaeger_config(config, "x", strict=True).sampler
    assert (sampler.type, sampler.param) == ("remote", 0.001)
    assert sampler.endpoint == "http://[::1]:99/sampling"


def test_its_service_name_beats_the_argument():
    """As in ``jaeger_client.Config``."""
    assert Settings.from_jaeger_config({"service_name": "a"}, "b").service_name == "a"
    assert Settings.from_jaeger_config({}, "b").service_name == "b"


def test_it_beats_all_variables_but_tags():
    """As in ``jaeger_client``, where the environment's tags replaced the dictionary's."""
    settings = Settings.from_jaeger_config(
        {"local_agent": {"reporting_port": 1}, "tags": {"a": "config", "b": "config"}},
        "x",
        environ={"JAEGER_AGENT_PORT": "2", "JAEGER_AGENT_HOST": "h", "JAEGER_TAGS": "a=env"},
    )
    assert (settings.transport.agent_host, settings.transport.agent_port) == ("h", 1)
    assert settings.flat()["tags"] == {"a": "env", "b": "config"}


@pytest.mark.parametrize(
    ("config", "name", "message"),
    [
        ({"sampler": {"typ": "const"}}, "sampler.typ", "did you mean 'sampler.type'?"),
        ({"reporter_queue_sise": 1}, "reporter_queue_sise", "did you mean 'reporter_queue_size'?"),
        ({"sampler": {"type": "all"}}, "sampler.type", "is none of const"),
        ({"sampler": {"type": "const", "param": 7}}, "sampler.param", "is neither 0 nor 1"),
        ({"sampler": "const"}, "sampler", "wants a mapping"),
        ({"enabled": "maybe"}, "enabled", "is neither true nor false"),
        ({"local_agent": {"reporting_port": "x"}}, "local_agent.reporting_port", "whole number"),
    ],
)
def test_a_mistake_is_named_by_its_path(config, name, message):
    """Each thing that is wrong in the dictionary, by the path of its key."""
    (bad,) = Settings.from_jaeger_config(config, "x").problems
    assert bad.name == name
    assert message in bad.message


class Mute:
    """Cannot be printed."""

    def __str__(self):
        raise RuntimeError


def test_tags_of_any_type_go_as_text():
    """As the old client sent what Thrift has no type for; one such tag costs no other."""
    tags = {"a": None, "b": ["x"], "c": True, "d": 1.5, "e": "f"}
    settings = Settings.from_jaeger_config({"tags": tags}, "x", strict=True)
    expected = {"a": "None", "b": "['x']", "c": "true", "d": "1.5", "e": "f"}
    assert settings.flat()["tags"] == expected


def test_unprintable_tags_are_named():
    """No ``__str__`` of the program's stops it from starting."""
    (bad,) = Settings.from_jaeger_config({"tags": {"a": Mute()}}, "x").problems
    assert bad.name == "tags"


def test_not_enabled_means_disabled():
    """The old client ignored the key; whoever writes it means it."""
    assert Settings.from_jaeger_config({"enabled": False}, "x").disabled
