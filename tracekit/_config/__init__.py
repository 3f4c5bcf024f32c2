"""The road of a configuration value, from what somebody wrote to a checked ``Settings``.

``values`` parse and check, ``schema`` is the table of settings, ``layers`` hold what each source
gave (arguments, environment, ``file``, ``jaeger_dictionary``), ``rules`` settle who wins and what
contradicts. The variables themselves are in ``tracekit._config.variables``.
"""
