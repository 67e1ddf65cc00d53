"""A sweep in MLflow while it runs: a parent run, and each trial below it as soon as it has ended.

    beside.py     the driver's side: starts the process, and waits for it at the end only
    __main__.py   the process, of low priority: follows the journal
    sweeping.py   publishes in lots what has ended: what Git holds as `trialtree track` does
    unsaved.py    what no commit holds, as it ended
    parent.py     the run of the sweep
    missing.py    what `trialtree track --all` adds of the sweeps of this machine

What MLflow cannot take costs the sweep a line: `trialtree track --all` publishes the trials later.
"""

from trialtree.sweep.publishing.beside import Published, Publishing

__all__ = ["Published", "Publishing"]
