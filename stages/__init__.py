"""What DVC runs: the stages (verbs) fetch, split, train, evaluate, register, and the nouns they share.

Kept readable for any Python 3, because it also tells a Python that is not the project's.
"""

import sys


def _refuse_a_foreign_python():  # type: ignore[no-untyped-def]  # any Python 3 must be able to read it
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        distribution("trialtree")
    except PackageNotFoundError:
        sys.exit(
            "this stage ran with %s (Python %d.%d), which is not the project's environment; "
            "activate it: . .venv/bin/activate (made by `make setup`)"
            % (sys.executable, sys.version_info[0], sys.version_info[1])
        )


# While Python looks for the module of `python -m stages.NAME`, argv[0] is "-m". Elsewhere (a test, a registered
# model's copy of these modules) nothing is asked of the environment.
if sys.argv[:1] == ["-m"]:
    _refuse_a_foreign_python()  # type: ignore[no-untyped-call]  # as above
