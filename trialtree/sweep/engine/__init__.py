"""Trials as `dvc exp run` would make them, byte for byte, in a process that DVC has been imported into once.

    snapshot.py    the commit and the Git tree that the trials start from
    trees.py       worktrees to run them in, reused
    pipeline.py    what dvc.yaml says, as plain values
    paramsfile.py  params.yaml with other values, as -S writes it
    caching.py     files in and out of DVC's cache
    outputs.py     the hashes of a stage's outputs
    entries.py     entries of dvc.lock, and its text
    runcache.py    results of stages that DVC has kept
    saving.py      the commit of a trial, its reference, and what `dvc exp show` keeps of it
    trial.py       one trial: what changed, what must run, what comes of it

DVC's own objects say what there is to do; its functions are called where they
are quick enough. Where ours stand in for them, they have been compared with
DVC's result on the sweep's own files before they are believed, and a test
compares the whole. Nothing of DVC is patched.
"""

DVC_VERSION = "3.67.1"  # whose layouts of cache, run cache and lock these are
