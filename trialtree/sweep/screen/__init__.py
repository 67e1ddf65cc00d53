"""What a sweep shows while it runs, and what it says at its end.

base.py      what the driver tells: `Screen`
making.py    the screen for a terminal, a log or a script: `make`
tally.py     how far it is, counted as it goes on
table.py     a live table
lines.py     plain lines
events.py    JSON
ending.py    the lines at the end: `final`
influence.py how much each param counts
standing.py  which trial goes before which
words.py     values, params and times in words
"""

from trialtree.sweep.screen.base import Kind, Screen
from trialtree.sweep.screen.making import make
from trialtree.sweep.screen.tally import Slot

__all__ = ["Kind", "Screen", "Slot", "make"]
