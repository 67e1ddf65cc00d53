"""A trial becomes an MLflow run, and its model a version of the registry: always through here, from wherever.

    git.py          what Git says of the repository
    trials.py       what Git and DVC hold of a trial
    stores.py       which MLflow, made once, spoken to by one process at a time
    runs.py         a trial to a run: `publish`
    packages.py     a model folder to an MLflow model that needs neither the repository nor trialtree
    versions.py     such a model to a version of the registry, and its aliases

Nothing here imports MLflow before a store is opened.
"""

from trialtree.tracking.runs import Run, publish
from trialtree.tracking.trials import Trial

__all__ = ["Run", "Trial", "publish"]
