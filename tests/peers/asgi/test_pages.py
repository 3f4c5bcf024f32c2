"""The programs of the pages about frameworks, run as pasted."""

from __future__ import annotations

import pytest
from pasted import blocks, run_as_pasted


@pytest.mark.parametrize("code", blocks("instrument-fastapi.md", "instrument-django.md"))
def test_every_block_runs_as_pasted(code, tmp_path):
    """No name is missing, nothing raises."""
    run_as_pasted(code, tmp_path)
