"""A trial becomes an MLflow run, and its model a version of the registry: always through here, from wherever.

    git.py          what Git says of the repository
    trials.py       what Git and DVC hold of a trial
    stores.py       which MLflow, made once, spoken to by one process at a time
    locks.py        what a dvc.lock says
    history.py      which commits changed dvc.lock
    committed.py    what a commit holds of a trial
    storage.py      where DVC keeps an object
    inputs.py       the split as dataset inputs of a run
    runs.py         a trial to a run: `publish`
    curves.py       curves.csv and folds.csv as points of metrics
    live.py         a fit to a run while it runs, in the process beside it; pipes.py, processes.py: to and of the fit
    commits.py      a commit to the run and the model versions of its trial: `add`
    packages.py     a model folder to an MLflow model that needs neither the repository nor trialtree
    versions.py     such a model to a version of the registry, and its aliases

Nothing here imports MLflow before a store is opened.
"""

from trialtree.tracking.runs import Run, publish
from trialtree.tracking.trials import Trial

__all__ = ["Run", "Trial", "publish"]
