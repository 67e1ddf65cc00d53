"""What early termination watches: folds where the objective is of cross-validation, else a curve of the fit.

A name that no trial will write would switch the policy off in silence. So it
is looked for, before the first trial, in what the estimators of the space are
known to write; only for an estimator of the user's own nobody knows.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stages.params import PATH, nearest
from trialtree.sweep.stopping import candidates, labels
from trialtree.sweep.stopping.bandit import Bandit
from trialtree.sweep.stopping.candidates import Candidate
from trialtree.sweep.stopping.deciding import make
from trialtree.sweep.stopping.hyperband import Hyperband
from trialtree.sweep.stopping.labels import Label
from trialtree.sweep.stopping.rule import Goal, Rule
from trialtree.sweep.stopping.tail import Source

if TYPE_CHECKING:
    from trialtree.sweep.section import SweepParams

_KEY = f"{PATH}: sweep.early_termination"
_CV = "cv."
_WHEN = ("evaluation_interval", "delay_evaluation", "min_resource")
# The curve that CatBoost has of a metric of `stages.scores`.
_CURVE_OF = {"log_loss": "logloss", "roc_auc": "auc"}


@dataclass(frozen=True)
class Watch:
    """What is watched of each trial."""

    source: Source
    goal: Goal
    length: int | None  # reports of a trial at most; None where nobody knows
    notes: list[str]  # lines for a person: trials that are never stopped


class _FaultError(Exception):
    """Why nothing can be watched: a line."""


def watch(section: "SweepParams", content: Mapping[str, Any]) -> Watch | None:
    """Return what to watch for a sweep, whose section `check` finds no fault with; None without early termination."""
    rule = section.early_termination
    try:
        return None if rule is None else _watch(rule, section, content)
    except _FaultError as fault:
        raise ValueError(str(fault)) from None


def check(section: "SweepParams", content: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with early termination in view of all of params.yaml, one line each."""
    rule = section.early_termination
    if rule is None:
        return []
    try:
        return _faults(rule, _watch(rule, section, content))
    except _FaultError as fault:
        return [str(fault)]


def _watch(rule: Rule, section: "SweepParams", content: Mapping[str, Any]) -> Watch:
    """Return what to watch.

    Raises:
        _FaultError: there is nothing to watch.
    """
    from trialtree.sweep import space

    kinds = candidates.of(space.read(section.space, section.where, content))
    objective = section.objectives[0]
    name = rule.curve or objective.metric
    if name.startswith(_CV):
        goal = objective.goal if name == objective.metric else labels.goal_of(name.removeprefix(_CV))
        return _folds(rule, name.removeprefix(_CV), goal, kinds)
    return _curve(rule, objective.metric, kinds)


def _folds(rule: Rule, metric: str, goal: Goal | None, kinds: Sequence[Candidate]) -> Watch:
    """Return how to watch a metric by folds."""
    from stages import scores

    if metric not in scores.METRICS:
        of = metric.removesuffix("_std")
        near = f"did you mean {_CV}{of}?" if of in scores.METRICS else nearest(metric, scores.METRICS)
        raise _FaultError(f"{_KEY}: {_CV}{metric} has no value of a fold for curve; {near}")
    with_folds = [kind for kind in kinds if kind.folds]
    if not with_folds:
        raise _FaultError(f"{_KEY}: would watch the folds of {_CV}{metric}, and there is no evaluate.cross_validation")
    length = max(kind.folds or 0 for kind in with_folds)
    without = [kind for kind in kinds if kind not in with_folds]
    return Watch(Source("folds", (metric,)), _goal(rule, _CV + metric, {goal}), length, _left(without, "folds"))


def _curve(rule: Rule, metric: str, kinds: Sequence[Candidate]) -> Watch:
    """Return how to watch a curve."""
    names = (rule.curve,) if rule.curve else _default(metric, kinds)
    shown = " or ".join(names)
    having = [kind for kind in kinds if kind.curves is None or _named(kind, names)]
    if not having:
        raise _FaultError(f"{_KEY}.curve: no estimator of the space has a curve {shown}; {_known(shown, kinds)}")
    found = [label for kind in having for label in _named(kind, names)]
    if all(kind.curves is not None for kind in having) and all(label.late for label in found):
        raise _FaultError(f"{_KEY}.curve: {shown} is written when the fit is over: too late to stop it")
    if isinstance(rule, Bandit) and rule.slack_factor is not None and any(label.negative for label in found):
        raise _FaultError(f"{_KEY}.slack_factor: is for values from 0, and {shown} is below; take slack_amount")
    goals = {label.goal for label in found} or {labels.goal_of(names[0].partition("_")[2])}
    lengths = [kind.curves.length for kind in having if kind.curves is not None]
    length = max(lengths) if len(lengths) == len(having) else None
    without = [kind for kind in kinds if kind not in having]
    return Watch(Source("curve", names), _goal(rule, shown, goals), length, _left(without, f"curve {shown}"))


def _named(kind: Candidate, names: Sequence[str]) -> list[Label]:
    """Return the curves of a kind of trial that have one of the names."""
    return [label for label in (kind.curves.labels if kind.curves else ()) if label.name in names]


def _default(metric: str, kinds: Sequence[Candidate]) -> tuple[str, ...]:
    """Return the labels to watch where none is given: the objective's own curve, else what the estimators go by.

    Raises:
        _FaultError: there is none, or estimators have different ones.
    """
    name = metric.partition(".")[2]
    own = (f"validation_{_CURVE_OF.get(name, name)}",)
    if any(not label.late for kind in kinds for label in _named(kind, own)):
        return own
    found = list(dict.fromkeys(kind.curves.default for kind in kinds if kind.curves and kind.curves.default))
    if len(found) != 1:
        why = "estimators of the space have different ones" if found else "there is no default"
        raise _FaultError(f"{_KEY}.curve: is required for {metric}: {why}; {_known('', kinds)}")
    return found[0]


def _known(name: str, kinds: Sequence[Candidate]) -> str:
    """Return the label that was meant, or all that there are."""
    if any(kind.curves is None for kind in kinds):
        return "give a label that the estimator writes"
    known = {label.name: None for kind in kinds if kind.curves for label in kind.curves.labels if not label.late}
    return nearest(name, known) if known else "an estimator without iterations has none: watch folds of cv.METRIC"


def _goal(rule: Rule, name: str, known: Collection[Goal | None]) -> Goal:
    """Return where what is watched should go.

    Raises:
        _FaultError: nobody knows, or it is known to be another.
    """
    goals = sorted({goal for goal in known if goal is not None})
    if len(goals) > 1:
        raise _FaultError(f"{_KEY}.curve: {name} is a loss of one estimator and a score of another; take another curve")
    if rule.goal is not None and goals and rule.goal not in goals:
        raise _FaultError(f"{_KEY}.goal: {name} is to {goals[0]}, got {rule.goal!r}")
    if rule.goal is None and not goals:
        raise _FaultError(f"{_KEY}.goal: is required for {name}: nobody knows where it should go")
    return rule.goal or goals[0]


def _left(kinds: Sequence[Candidate], what: str) -> list[str]:
    """Return a note on trials that are not watched."""
    names = ", ".join(dict.fromkeys(kind.estimator for kind in kinds))
    return [f"never stopped early, for there is no {what}: {names}"] if names else []


def _faults(rule: Rule, found: Watch) -> list[str]:
    """Return what is wrong with a rule for reports of this length."""
    what = "folds" if found.source.kind == "folds" else f"reports of {' or '.join(found.source.names)}"
    if found.length is None:
        needs = isinstance(rule, Hyperband) and rule.max_resource is None
        return [f"{_KEY}.max_resource: is required: nobody knows how many {what} there are"] if needs else []
    policy = make(rule, found.goal, found.length)
    if policy is None or any(policy.rule.asks(t, 0) for t in range(1, found.length)):
        return []
    set_ = {name: value for name, value in rule if name in _WHEN and name in rule.model_fields_set}
    given = ", ".join(f"{name}: {value}" for name, value in set_.items()) or rule.policy
    return [f"{_KEY}: {given} never stops a trial before its last report: there are at most {found.length} {what}"]
