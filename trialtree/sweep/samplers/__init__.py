"""Samplers: which point of the space the next trial has."""

from collections.abc import Mapping
from typing import Any

from stages.params import ParamsError
from trialtree.sweep import space
from trialtree.sweep.samplers import starting
from trialtree.sweep.samplers.base import Point, Sampler
from trialtree.sweep.samplers.distinct import Distinct
from trialtree.sweep.samplers.faults import faults
from trialtree.sweep.samplers.learning import Learning
from trialtree.sweep.section import SweepParams
from trialtree.sweep.space import Space

__all__ = ["Point", "Sampler", "faults", "make"]


def make(section: SweepParams, base: Mapping[str, Any], until: int | None = None) -> Sampler:
    """Return the sampler of a sweep section, with what it starts from.

    `base` is all of params.yaml; of start_from only what there was before
    `until` counts, in milliseconds since 1970: a sweep that goes on must not
    start from itself.

    Raises:
        ParamsError: the space cannot be read, or the sampler cannot search it; every fault, one line each.
    """
    searched = space.read(section.space, section.where, base)
    if said := list(faults(section, searched)):
        raise ParamsError("\n".join(said))
    start = starting.read(section, searched, until)
    sampler = _made(section, searched, start.tried)
    sampler.notes = start.notes
    if isinstance(sampler, Learning):
        for point, objective in start.known:
            sampler.learn(point, objective)
    for number, point in enumerate(start.points):
        sampler.restore(number, point)
    sampler.started = len(start.points)
    return sampler


def _made(section: SweepParams, searched: Space, tried: frozenset[str]) -> Distinct | Learning:
    """Return the sampler, which leaves out the cells that were tried; only its own libraries are imported."""
    match section.sampler.sampler:
        case "grid":
            from trialtree.sweep.samplers.grid import Grid

            return Grid(searched, tried)
        case "sobol":
            from trialtree.sweep.samplers.sobol import Sobol

            return Sobol(searched, section.seed, tried)
        case "bayesian":
            from trialtree.sweep.samplers.bayesian import Bayesian

            return Bayesian(searched, section, tried)
        case "gp":
            from trialtree.sweep.samplers.gp import GaussianProcess

            return GaussianProcess(searched, section, tried)
        case "cmaes":
            from trialtree.sweep.samplers.cma import Evolution

            return Evolution(searched, section, tried)
    from trialtree.sweep.samplers.random import Random

    return Random(searched, section.seed, tried)
