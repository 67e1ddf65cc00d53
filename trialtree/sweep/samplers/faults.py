"""What a sampler cannot search, a line each."""

from collections.abc import Iterator
from importlib.util import find_spec

from stages.params import PATH
from trialtree.sweep.samplers import units
from trialtree.sweep.section import SweepParams
from trialtree.sweep.space import Space
from trialtree.sweep.space.distributions import Uniform
from trialtree.sweep.space.steps import Float

_SAMPLING = f"{PATH}: sweep.sampling"


def faults(section: SweepParams, space: Space) -> Iterator[str]:
    """Yield why the sampler of a section cannot search its space."""
    name = section.sampler.sampler
    if name == "grid":
        yield from _grid(space)
    if name in ("gp", "cmaes"):
        yield from _one_shape(name, section, space)
    if name == "gp" and find_spec("torch") is None:
        yield f"{_SAMPLING}: gp needs torch, which is not installed; `pip install torch`, or take bayesian"


def _grid(space: Space) -> Iterator[str]:
    """Yield the keys that a grid has no end of."""
    for of in space.dimensions:
        if of.expression.size is None:
            name = of.expression.name
            instead = {Uniform: "quniform", Float: "a step"}.get(type(of.expression), "choice")
            yield (
                f"{PATH}: sweep.space.{of.place}: a grid has no end of values of {name}; "
                f"take {instead} here, or random as sampling"
            )


def _one_shape(name: str, section: SweepParams, space: Space) -> Iterator[str]:
    """Yield what stands against a sampler that takes every point as numbers of one kind."""
    if len(section.objectives) > 1:
        yield f"{_SAMPLING}: {name} is for one objective, and there are {len(section.objectives)}; take bayesian"
    if space.conditional:
        where = next(of.place for of in space.dimensions if of.conditional)
        yield (
            f"{_SAMPLING}: {name} needs the same keys in every point, and sweep.space.{where} brings others; "
            "take bayesian"
        )
    elif name == "cmaes":
        for of in space.dimensions:
            if not units.has(of):
                yield (
                    f"{_SAMPLING}: cmaes needs numbers, and sweep.space.{of.place} has values without an order; "
                    "take bayesian, or give the choice `ordered: true`"
                )
