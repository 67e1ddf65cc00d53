"""All that is wrong with a sweep, before anything runs."""

from collections.abc import Mapping
from typing import Any

from trialtree.sweep import section
from trialtree.sweep.section import SweepParams
from trialtree.sweep.stopping import watching


def check(settled: SweepParams, content: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a section in view of all of params.yaml, one line each."""
    own = getattr(section, "check", None)
    return list(dict.fromkeys([*(own(settled, content) if own else ()), *watching.check(settled, content)]))
