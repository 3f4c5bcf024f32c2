"""The command line, ``tracekit …``: one module a command, imported when it is called."""
