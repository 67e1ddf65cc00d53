"""Endpoints of this machine: servers that outlive the shell in which they were made.

place.py       where one is, and whether it lives
running.py     the process of one
creating.py    made, updated, started again
stopping.py    ended and deleted
showing.py     listed and told of
"""
