"""DVC's own queue, run by the sweep's engine: the results of `dvc queue start`, without its processes.

    messages.py   what `dvc exp run --queue` put there
    entries.py    an entry: what it starts from, what is to be run, and whether the engine can
    contents.py   params.yaml as a mapping, for many that differ little
    state.py      what DVC's commands know of an entry: queued, running, done or failed
    claims.py     who has taken which entry, and what a killed one left
    making.py     an entry's experiment, by the engine
    groups.py     entries that differ in nothing but params.yaml, which share an engine
    bydvc.py      an entry's experiment, by DVC itself
    draining.py   the loop
    place.py      where an entry is while it runs
    ledger.py     what becomes of entries
    telling.py    what a person or a script sees of it
    running.py    all of it

DVC's queue is a folder of messages and Git's log of a reference. An entry
moves from `queued` to `running` by one rename of its message, which no two
processes can both do: workers of `dvc queue start` may work beside this.
"""
