"""A trial becomes an MLflow run, and its model a version of the registry: always through here, from wherever.

    git.py          what Git says of the repository
    refs.py         where branches, tags and experiments stand, and how commits descend
    keys.py         which trial each dvc.lock of the history holds
    survey.py       which trials the repository holds, and where in Git
    locks.py        what a dvc.lock says
    history.py      which commits changed dvc.lock
    committed.py    whether a commit is all that its trial came from
    storage.py      where DVC keeps an object
    files.py        a trial's files, in the working folder or as Git and DVC keep them
    wishes.py       what params.yaml says of the run: experiment, description, tags
    curves.py       the history of metrics
    scripts.py      what a training script logged
    inputs.py       the split as dataset inputs of a run
    trials.py       all that a run is to say of a trial

    stores.py       which MLflow, spoken to by one process of a repository at a time
    addresses.py    what an address of a store may be
    embedded.py     the repository's own store
    faults.py       what is wrong with a store, in a line
    claims.py       one process at a time for a trial of a shared database
    index.py        which runs a store has, quickly

    runs.py         a trial to a run: `publish`
    artifacts.py    its files
    stageruns.py    a run for each of its stages
    parents.py      a run for the trials of a branch, and for the experiments of a commit
    publisher.py    many trials through one open store
    track.py        `trialtree track`
    live.py         a run that shows a fit while it runs, with pipes.py

    packages.py     a model folder to an MLflow model that needs neither the repository nor trialtree
    scripted.py     the same of a training script's model
    versions.py     such a model to a version of the registry, and its aliases

Nothing here imports MLflow before a store is opened.
"""

from trialtree.tracking.runs import Run, publish
from trialtree.tracking.trials import Trial

__all__ = ["Run", "Trial", "publish"]
