"""Samplers: which point of the space the next trial has."""

from collections.abc import Mapping
from typing import Any

from trialtree.sweep import space
from trialtree.sweep.samplers.base import Point, Sampler
from trialtree.sweep.section import SweepParams

__all__ = ["Point", "Sampler", "make"]


def make(section: SweepParams, base: Mapping[str, Any]) -> Sampler:
    """Return the sampler of a sweep section; `base` is all of params.yaml.

    Raises:
        ParamsError: the space cannot be read, or the sampler cannot search it.
    """
    searched = space.read(section.space, section.where, base)
    match section.sampler.sampler:
        case "grid":
            from trialtree.sweep.samplers.grid import Grid

            return Grid(searched)
        case _:
            from trialtree.sweep.samplers.random import Random

            return Random(searched, section.seed)
