"""`sweep.early_termination`: one of the rules, told apart by `policy`."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, Tag

from stages.params import nearest, shown
from trialtree.sweep.stopping.asha import Asha
from trialtree.sweep.stopping.bandit import Bandit
from trialtree.sweep.stopping.hyperband import Hyperband
from trialtree.sweep.stopping.median_stopping import MedianStopping
from trialtree.sweep.stopping.rule import Rule
from trialtree.sweep.stopping.truncation_selection import TruncationSelection

POLICIES = ("bandit", "median_stopping", "truncation_selection", "asha", "hyperband")


def _known(section: Any) -> Any:
    """Refuse a policy that there is not, and text or numbers in the place of a section."""
    if isinstance(section, Rule):
        return section
    if not isinstance(section, Mapping):
        raise ValueError("must be a mapping with policy")
    name = section.get("policy")
    if name is None:
        raise ValueError(f"policy is required: {', '.join(POLICIES)}")
    if name not in POLICIES:
        near = nearest(str(name), POLICIES)
        raise ValueError(f"policy must be one of {', '.join(POLICIES)}, got {shown(name)}" + _hint(near))
    return section


def _hint(near: str) -> str:
    return f"; {near}" if near.startswith("did") else ""


def _tag(section: Any) -> str:
    """Return the policy in brackets: messages leave such a step of a key out."""
    return f"({section.policy if isinstance(section, Rule) else section['policy']})"


EarlyTermination = Annotated[
    Annotated[Bandit, Tag("(bandit)")]
    | Annotated[MedianStopping, Tag("(median_stopping)")]
    | Annotated[TruncationSelection, Tag("(truncation_selection)")]
    | Annotated[Asha, Tag("(asha)")]
    | Annotated[Hyperband, Tag("(hyperband)")],
    Discriminator(_tag),
    BeforeValidator(_known),
]
