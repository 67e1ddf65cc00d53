"""NAME, NAME@alias or NAME/version of the registry becomes a checked folder of this machine, mostly without MLflow.

asking.py       what is asked for, as it is written
books.py        what a registry says, and what is meant by that
bysqlite.py     a database of sqlite, as the repository's own store is
byrest.py       a server
bymlflow.py     every other one, and all downloads, in a process that imports MLflow and ends
caching.py      models on this disk, by digest
resolving.py    from the one to the other
"""
