"""Hold a sweep section against all of params.yaml, its estimators and its stages, before anything runs."""

from collections.abc import Mapping
from typing import Any

from stages.params import ParamsError
from trialtree.sweep import samplers, space
from trialtree.sweep.samplers import starting
from trialtree.sweep.section import MODELLED, SweepParams
from trialtree.sweep.space import metrics, probing, tree

_A_KEY = 20  # trials that a sampler wants that learns
_AT_ONCE = 8  # trials, with which it still learns well


def check(section: SweepParams, content: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a section in view of all of params.yaml, one line each; imports its estimators."""
    searched = space.read(section.space, section.where, content)
    said = [*probing.unknown_keys(searched), *samplers.faults(section, searched), *starting.faults(section, searched)]
    try:
        said += probing.empty(searched)
        points = probing.points(searched)
    except ParamsError as error:  # a condition that cannot be told of some points
        return [*said, *str(error).splitlines()]
    return list(dict.fromkeys([*said, *metrics.faults(section, content, points), *probing.faults(searched, points)]))


def advice(section: SweepParams, content: Mapping[str, Any]) -> list[str]:
    """Return what a person may want to know of a section with which nothing is wrong, one line each."""
    name, limits = section.sampler.sampler, section.limits
    if name not in MODELLED:
        return []
    said = []
    keys = tree.keys_at_most(space.read(section.space, section.where, content).root)
    if limits.trials is not None and limits.trials < _A_KEY * keys:
        said.append(
            f"{name} wants about {_A_KEY} trials a key, {_A_KEY * keys} for {keys}, and limits.trials is "
            f"{limits.trials}: sobol may do as well"
        )
    if limits.concurrent is not None and limits.concurrent > _AT_ONCE:
        said.append(f"{name} learns little from {limits.concurrent} trials at once; {_AT_ONCE} or fewer are better")
    return said
