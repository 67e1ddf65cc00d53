"""Review: what a trial changed against another, whether its gain is real, and what keeps it from being merged.

subjects.py     the revisions, and how Git relates them
laid.py         their outputs, laid out by links into DVC's cache
pairs.py        both models' stored predictions, row by row
weighted.py     metrics of rows that count several times
bootstrap.py    the interval of a difference
verdict.py      better, worse, or no difference that these rows can show
rowwise.py      rows that came, went, changed or moved to another part
columnwise.py   columns: drift.py, leakage.py
trying.py       a process beside: prediction times, another's model on these rows
provenance.py   commits, people, and whether the remote has the data
finding.py      all of these together
swept.py        the sweep that a trial comes from
drawn.py        pictures
writing.py      the findings as the blocks of a report; blocks.py, markdown.py, page.py
report.py       `trialtree report`
against.py      several trials against one base
section.py      the review section of params.yaml
gate.py         `trialtree gate`
"""
