"""A sweep in MLflow while it runs: a parent run, and each trial below it as soon as it has ended.

    beside.py     the driver's side: starts the process, and waits for it at the end only
    __main__.py   the process, of low priority: follows the journal and publishes in lots
    trials.py     trials of the journal: those with a commit as `trialtree track` has them, the others as they ended
    parent.py     the run of the sweep

What MLflow cannot take costs the sweep a line: `trialtree track --all` publishes the trials later.
"""

from trialtree.sweep.publishing.beside import Published, Publishing

__all__ = ["Published", "Publishing"]
