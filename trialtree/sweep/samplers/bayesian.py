"""Tree-structured Parzen estimators, Optuna's TPESampler: what good trials have in common, and others have not.

Bergstra, Bardenet, Bengio and Kégl, Algorithms for hyper-parameter
optimization, 2011; Watanabe, Tree-structured Parzen estimator, 2023,
https://doi.org/10.48550/arXiv.2304.11127
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from trialtree.sweep.samplers.modelled import Modelled
from trialtree.sweep.section import Sampling, SweepParams
from trialtree.sweep.space import Space
from trialtree.sweep.stopping import watching

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

STARTUP = 10  # trials
CANDIDATES = 24  # draws


class Bayesian(Modelled):
    """Asks Optuna's TPESampler; trials that run count as bad ones (constant liar)."""

    def __init__(self, space: Space, section: SweepParams, known: Iterable[str] = ()) -> None:
        self.options: Sampling = section.sampler
        goals = [objective.goal for objective in section.objectives]
        # Better and quicker, measured in docs/searching.md; for several objectives Optuna itself draws one by one.
        self.jointly = len(goals) == 1 if self.options.multivariate == "auto" else self.options.multivariate
        watched = watching.watch(section, space.base)
        self.curve_sign = -1 if watched and watched.goal != goals[0] else 1
        super().__init__(space, section.seed, self.options.startup or STARTUP, goals, known)

    def sampler(self, seed: int, attempt: int) -> "BaseSampler":
        """Return Optuna's sampler; the more draws were known points, the less it insists on the best of them."""
        from optuna.samplers import TPESampler

        candidates = max(1, (self.options.candidates or CANDIDATES) >> attempt)
        return TPESampler(
            seed=seed, n_startup_trials=0, n_ei_candidates=candidates, multivariate=self.jointly, constant_liar=True
        )
