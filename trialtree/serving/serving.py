"""The models that a worker answers by, and how a plan of others takes their place while it answers."""

import random
import sys
from dataclasses import dataclass
from pathlib import Path

from trialtree.serving import scoring
from trialtree.serving.scoring import Scorer
from trialtree.serving.settings import Plan, Planned, Settings


@dataclass(frozen=True)
class Served:
    """A model of the plan, loaded."""

    planned: Planned
    scorer: Scorer

    @property
    def label(self) -> str:
        """How it is named in metrics and answers."""
        return self.planned.label


@dataclass(frozen=True)
class Serving:
    """A plan, loaded: never changed, only replaced."""

    plan: Plan
    answering: tuple[Served, ...]
    shadows: tuple[Served, ...]

    @property
    def first(self) -> Served:
        """The model that the page and the metadata describe: the one with the largest share."""
        return max(self.answering, key=lambda each: each.planned.share)

    def choose(self) -> Served:
        """Return the model that answers the next request."""
        if len(self.answering) == 1:
            return self.answering[0]
        shares = [each.planned.share for each in self.answering]
        return random.choices(self.answering, shares)[0]  # noqa: S311  # which model answers is no secret

    def of(self, version: str) -> Served | None:
        """Return the model of a version that answers requests."""
        return next((each for each in self.answering if each.planned.version == version), None)


def load(plan: Plan, settings: Settings, before: Serving | None = None) -> Serving:
    """Return a plan, loaded; models that the plan `before` has too are taken from there.

    Raises:
        UserError: a model cannot be loaded.
    """
    served_before = (*before.answering, *before.shadows) if before else ()
    known = {
        _key(each.planned): each.scorer for each in served_before if each.scorer.schema.unknown == settings.unknown
    }
    served = []
    for each in plan.models:
        scorer = known.get(_key(each))
        if scorer is None:
            scorer = scoring.load(Path(each.folder), each.digest, each.gaps, settings.unknown, settings.allow_pickle)
            known[_key(each)] = scorer
        served.append(Served(each, scorer))
    if "sklearn" in sys.modules:
        # Now, and not when a first body needs it: scikit-learn looks into a pyarrow that another thread half imported.
        import pyarrow  # noqa: F401  # see above
    return Serving(
        plan,
        tuple(each for each in served if not each.planned.shadow and each.planned.share > 0),
        tuple(each for each in served if each.planned.shadow),
    )


def _key(planned: Planned) -> tuple[str, str, tuple[str, ...]]:
    return planned.folder, planned.digest, planned.gaps
