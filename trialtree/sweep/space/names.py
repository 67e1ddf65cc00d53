"""Every expression by its name in params.yaml."""

from collections.abc import Mapping

from trialtree.sweep.space.choices import Choice
from trialtree.sweep.space.distributions import (
    LogNormal,
    LogUniform,
    Normal,
    QLogNormal,
    QLogUniform,
    QNormal,
    QUniform,
    Uniform,
)
from trialtree.sweep.space.expressions import Expression
from trialtree.sweep.space.steps import Float, Int, RandInt

DRAWN: Mapping[str, type[Expression]] = {
    cls.name: cls
    for cls in (
        Choice, RandInt, Uniform, QUniform, LogUniform, QLogUniform, Normal, QNormal, LogNormal, QLogNormal, Int, Float,
    )
}  # fmt: skip
EXPRESSIONS = (*DRAWN, "fixed", "linked")  # the last two are not drawn
