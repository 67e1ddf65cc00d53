"""The sweep that a trial comes from, by the commits of its trials: the best of them, and which params count."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from trialtree.review.blocks import Block, Code, Line, Paragraph, Section, Strong, Table, value
from trialtree.review.subjects import Subject
from trialtree.review.verdict import shown
from trialtree.sweep import ranking
from trialtree.sweep.records import Trial
from trialtree.tracking import git, locks, refs, sweeps

_TRAILER = re.compile(rb"^Trial-Sweep: (?P<sweep>\S+)$", re.MULTILINE)
_BEST = 5  # trials shown
_PARAMS = 4  # that vary, beside them
_MOST = 2000  # trials that are looked at


def sections(of: Subject) -> list[Section]:
    """Return the section on a trial's sweep; none for a trial of no sweep, or whose other trials are not here."""
    if (named := _TRAILER.search(of.laid.content.read(of.commit) or b"")) is None:
        return []
    sweep = named["sweep"].decode(errors="replace")
    section = of.param("sweep")
    objectives = sweeps.objectives(section.get("objective")) if isinstance(section, Mapping) else []
    trials = _trials(of.laid.content, sweep, objectives) if objectives else {}
    if len(trials) < 2:
        said: Line = ["Of sweep ", Code(sweep), "; its other trials are not here: `dvc exp pull origin --all-commits`."]
        return [Section("Sweep", [Paragraph(said)])]
    ranked = ranking.ranked(list(trials.values()), objectives, sweeps.objectives(section.get("tie_break")))
    keys = _varying(ranked)
    named_of = {trial.number: commit for commit, trial in trials.items()}
    rows: list[list[Line]] = []
    for place, trial in enumerate(ranked):
        own = named_of[trial.number] == of.commit
        if place < _BEST or own:
            name = Code(str(trial.name))
            rows.append([
                f"{place + 1}", [name, " ", Strong("this one")] if own else name,
                *(shown(number) for number in trial.objective or ()), *(value(trial.values.get(key)) for key in keys),
            ])  # fmt: skip
    header = ["rank", "trial", *(one.metric for one in objectives), *keys]
    told: list[Block] = [
        Paragraph(["Of sweep ", Code(sweep), f", of which {len(ranked):,} trials are here:"]),
        Table(header, rows, left=2),
        *_importance(ranked),
    ]
    return [Section("Sweep", told)]


def _trials(content: git.Objects, sweep: str, objectives: Sequence[Any]) -> dict[str, Trial]:
    """Return the trials of a sweep that are experiments or branches here, by commit."""
    found: dict[str, Trial] = {}
    for commit, names in list(refs.read().experiments.items()):
        message = content.read(commit) or b""
        named = _TRAILER.search(message)
        if named is None or named["sweep"].decode(errors="replace") != sweep or len(found) >= _MOST:
            continue
        trial = sweeps.trial(content, commit, min(names), len(found), objectives)
        if trial is not None:
            trial.values = _values(content, commit)
            found[commit] = trial
    return found


def _values(content: git.Objects, commit: str) -> dict[str, Any]:
    """Return the params of a trial by dotted name, without the section that all of a sweep share."""
    try:
        found = locks.load(content.read(f"{commit}:./params.yaml") or b"")
    except locks.TrialError:
        return {}
    return dict(locks.flat({k: v for k, v in found.items() if k != "sweep"})) if isinstance(found, Mapping) else {}


def _varying(trials: Sequence[Trial]) -> list[str]:
    """Return the params that differ between the trials."""
    keys = dict.fromkeys(key for trial in trials for key in trial.values)
    return [key for key in keys if len({str(trial.values.get(key)) for trial in trials}) > 1][:_PARAMS]


def _importance(trials: Sequence[Trial]) -> list[Table]:
    """Return how much of the trials' ranks each param explains."""
    from trialtree.sweep.screen import influence

    shares = [(key, share) for key, share in influence.influence(trials) if share > 0]
    rows: list[list[Line]] = [[Code(key), f"{share:.0%}"] for key, share in shares]
    return [Table(["param", "share of the ranks that it explains alone"], rows, most=8)] if rows else []
