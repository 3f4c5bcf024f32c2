"""Only ``make interop`` comes in here, which brings the peers along."""

from __future__ import annotations


def pytest_ignore_collect(collection_path, config):
    return None if config.pluginmanager.has_plugin("peers") else True
