"""All that is wrong with a sweep, before anything runs.

    python -m trialtree.sweep.checking

prints it, a line each, and ends with status 1; where all is in order, what a
person may want to know. A sweep has this run where the libraries of its
estimators are imported already.
"""

import sys
from collections.abc import Mapping
from typing import Any

from stages import params
from trialtree.sweep import section
from trialtree.sweep.section import SweepParams
from trialtree.sweep.stopping import watching


def check(settled: SweepParams, content: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a section in view of all of params.yaml, one line each."""
    return list(dict.fromkeys([*section.check(settled, content), *watching.check(settled, content)]))


def main() -> None:
    """Check the params.yaml of the working folder."""
    content = params.load()
    settled = section.read(content)
    faults = check(settled, content)
    print("\n".join(faults or section.advice(settled, content)))
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
