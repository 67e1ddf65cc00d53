"""How much of the ranking of the trials each param explains alone: at once, where `importance` imports for a second.

The share of the variance of ranks that lies between the values of a param
(numbers of many values in five groups of equal size), adjusted for their
number, so that chance explains nothing.

References:
    W. H. Kruskal, W. A. Wallis, Use of Ranks in One-Criterion Variance Analysis (1952),
    https://doi.org/10.1080/01621459.1952.10483441
"""

import json
from collections import defaultdict
from collections.abc import Hashable, Sequence
from itertools import groupby
from typing import Any

from trialtree.sweep.records import Trial

_FEWEST = 8  # trials under which nothing is said
_DISTINCT = 8  # numbers above which they are grouped
_GROUPS = 5
_MOST = 2000  # trials that are looked at


def influence(trials: Sequence[Trial]) -> list[tuple[str, float]]:
    """Return the share of each param in the ranking by the first objective, by key, the largest first.

    `trials` are those that are done; of too few of them nothing is returned.
    """
    if len(trials) < _FEWEST:
        return []
    trials = trials[:: -(-len(trials) // _MOST)]
    losses = {trial.number: trial.objective[0] for trial in trials if trial.objective}
    found = {}
    for key in dict.fromkeys(key for trial in trials for key in trial.values):
        here = [trial for trial in trials if key in trial.values]
        groups = _grouped([trial.values[key] for trial in here])
        if len(set(groups)) > 1:
            ranks = _ranks([losses[trial.number] for trial in here])
            found[key] = _explained(groups, ranks) * len(here) / len(trials)
    return sorted(found.items(), key=lambda share: (-share[1], share[0]))


def _grouped(values: Sequence[Any]) -> list[Hashable]:
    """Return the group of each value."""
    texts = [json.dumps(value, sort_keys=True, default=str) for value in values]
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    if not numbers or len(set(texts)) <= _DISTINCT:
        return [*texts]
    return [int(rank * _GROUPS / len(values)) for rank in _ranks(values)]


def _ranks(values: Sequence[float]) -> list[float]:
    """Return the place of each value from 0, equal ones at the middle of theirs."""
    order = sorted(range(len(values)), key=lambda place: values[place])
    ranks = [0.0] * len(values)
    at = 0
    for _, equal in groupby(order, key=lambda place: values[place]):
        places = [*equal]
        for place in places:
            ranks[place] = at + (len(places) - 1) / 2
        at += len(places)
    return ranks


def _explained(groups: Sequence[Hashable], ranks: Sequence[float]) -> float:
    """Return the share of the variance of ranks that lies between groups, less what chance would put there."""
    by_group = defaultdict(list)
    for group, rank in zip(groups, ranks, strict=True):
        by_group[group].append(rank)
    mean, count, kinds = sum(ranks) / len(ranks), len(ranks), len(by_group)
    total = sum((rank - mean) ** 2 for rank in ranks)
    within = sum((rank - sum(of) / len(of)) ** 2 for of in by_group.values() for rank in of)
    if not total or count <= kinds:
        return 0.0
    return max(0.0, 1 - within / total * (count - 1) / (count - kinds))
