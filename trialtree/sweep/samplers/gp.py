"""Gaussian processes, Optuna's GPSampler: few trials that take long. It needs torch."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from trialtree.sweep.samplers.modelled import Modelled
from trialtree.sweep.section import SweepParams
from trialtree.sweep.space import Space

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

STARTUP = 10  # trials


class GaussianProcess(Modelled):
    """Asks Optuna's GPSampler; trials that run count with what the model expects of them."""

    def __init__(self, space: Space, section: SweepParams, known: Iterable[str] = ()) -> None:
        goals = [objective.goal for objective in section.objectives]
        super().__init__(space, section.seed, section.sampler.startup or STARTUP, goals, known)

    def sampler(self, seed: int, attempt: int) -> "BaseSampler":  # noqa: ARG002  # each attempt has a seed of its own
        """Return Optuna's sampler."""
        from optuna.samplers import GPSampler

        return GPSampler(seed=seed, n_startup_trials=1, deterministic_objective=False)
