"""Refuse a trial that falls behind, or whose figures are not proved.

    trialtree gate [HEAD] [--base main]

Reads   what `trialtree report` does, and the review section of HEAD's params.yaml
Writes  nothing

What is asked for and cannot be told is refused too: a gate that does not know
lets nothing through.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from stages import gates, params
from stages.errors import UserError
from stages.recipes import size_in_bytes
from trialtree.review import blocks, bootstrap, finding, pairs, provenance, rowwise, subjects
from trialtree.review.finding import Findings, Options
from trialtree.review.section import NAME, NotWorse, ReviewParams
from trialtree.review.subjects import PREDICTIONS, Subject
from trialtree.review.verdict import shown, signed
from trialtree.tracking import locks

_PROOF = 30  # rows that a proof takes
_EXACT = 1e-9  # relative difference of a figure that was computed again
_AWAY = "the data are not here; `--pull` brings them"


@dataclass(frozen=True)
class Check:
    """What came of one rule."""

    rule: str  # its key in params.yaml, or what it is
    holds: bool
    said: str

    def __str__(self) -> str:
        """Say it in a line."""
        return blocks.visible(f"{'pass' if self.holds else 'FAIL'}  {self.rule}: {self.said}")


def gate(head: str, base: str | None, *, pull: bool = False) -> list[Check]:
    """Return what came of each rule, those that fail last.

    The rules are head's own and base's: a trial does not pass by what it leaves out of params.yaml.

    Raises:
        UserError: there is no such head, or a review section is wrong.
    """
    against = subjects.resolved(base)[0] if base else None
    sections = [_section(name) for name in (head, against) if name]
    options = Options(pull=pull, time=any(section.prediction_time is not None for section in sections))
    with finding.found(head, base, options) as found:
        found.wait()
        if found.head.side is None:
            return [Check("trial", False, "; ".join(found.head.notes) or "there is none")]
        checks = [_figures(found), *_checks(sections[0], found.head, found, base is not None)]
        failed = {check.rule for check in checks if not check.holds}
        if found.base is not None:
            for check in _checks(sections[1], found.base, found, wanted_base=True):
                if not check.holds and check.rule not in failed:
                    checks = [one for one in checks if one.rule != check.rule]
                    checks.append(replace(check, said=f"{check.said} (so asks {found.base.name})"))
    return sorted(checks, key=lambda check: not check.holds)


def _section(name: str) -> ReviewParams:
    """Return the review section of a revision."""
    from trialtree import revisions
    from trialtree.tracking import git

    with git.objects() as content:
        read = content.read(f"{revisions.commit(name)}:./params.yaml") or b""
    try:
        found = locks.load(read)
    except locks.TrialError as error:
        raise params.ParamsError(f"params.yaml of {name} {error}") from None
    section = found.get(NAME) if isinstance(found, Mapping) else None
    return params.parse(NAME, section, ReviewParams)


def _checks(asked: ReviewParams, by: Subject, of: Findings, wanted_base: bool) -> Iterator[Check]:
    """Yield what came of each rule of a side's review section, and of its gates."""
    if asked.up_to_date:
        yield _up_to_date(of)
    yield from _gates(by, of)
    yield from _bounds(asked, of)
    if wanted_base:
        yield from _not_worse(asked, by, of)
    yield from _model(asked, of)
    yield from _data(asked, of, wanted_base)
    if asked.in_remote:
        held = provenance.in_remote(of.head)
        yield Check("review.in_remote", held == "yes", {"-": "there is no DVC remote"}.get(held, held))


def _up_to_date(of: Findings) -> Check:
    """Hold dvc.lock against the commit's own files."""
    said = "; ".join(of.stale)
    return Check(
        "review.up_to_date", not said, f"{said}; `dvc repro`, then commit" if said else "dvc.lock is the commit's"
    )


def _figures(of: Findings) -> Check:
    """Compute the metrics of the test part again from the predictions, and hold these against the data."""
    from stages import scores

    rule, test = "figures", subjects.metrics(of.head).get("test", {})
    file = of.head.folder / PREDICTIONS
    if not file.exists():
        return Check(rule, False, "reports/predictions.parquet is neither here nor in the remote")
    try:
        rows = pairs.read(file, of.head.param("evaluate.positive"))
        again, _ = scores.score(rows, [name for name in test if name in scores.applying(len(rows.labels))], "test")
        other = rowwise.other_rows(file, of.head.folder / finding.SPLIT) if of.has_data else None
    except UserError as error:
        return Check(rule, False, str(error))
    marks = () if rows.probabilities is not None else ("roc_auc", "average_precision")  # of a decision function
    unproved = [name for name in test if name != "rows" and name not in again]
    wrong = [name for name in unproved if name not in marks]
    wrong += [name for name, value in again.items() if not _is(test[name], value)]
    wrong += ["rows"] if test.get("rows") != len(rows.actual) else []
    if wrong or not again:
        named = ", ".join(wrong) or "no metric"
        return Check(rule, False, f"reports/metrics.json does not say what the predictions give: {named}")
    if other:
        return Check(rule, False, f"reports/predictions.parquet is not of the rows of data/split/test: {other}")
    said = f"{len(again)} metrics of the test part are what the predictions give"
    said += f", not proved: {', '.join(unproved)}" if unproved else ""
    said += "" if of.has_data else "; the data are not here to hold these against"
    return Check(rule, True, said)


def _is(said: Any, value: float) -> bool:
    """Say whether a figure is the one that was computed again."""
    number = isinstance(said, int | float) and not isinstance(said, bool)
    return bool(number and abs(value - said) <= _EXACT * max(1.0, abs(value)))


def _gates(by: Subject, of: Findings) -> Iterator[Check]:
    """Yield what came of the gates that a side's register section has."""
    try:
        results = finding.gated(by, of.head)
    except UserError as error:
        yield Check("register.gates", False, str(error))
        return
    for result in results:
        yield Check(f"register.gates.{result.metric}", result.holds, str(result))


def _bounds(asked: ReviewParams, of: Findings) -> Iterator[Check]:
    """Yield what came of the bounds of review."""
    metrics = of.head.side.metrics if of.head.side else {}
    for name, bounds in asked.metrics.items():
        rule = f"review.metrics.{name}"
        full = name if "." in name else f"test.{name}"
        if full not in metrics:
            yield Check(rule, False, f"there is no such metric; {params.nearest(full, metrics)}")
            continue
        bound = gates.Gate(min=bounds.min, max=bounds.max)
        for result in gates.check({full: bound}, metrics, None):
            yield Check(rule, result.holds, str(result))


def _not_worse(asked: ReviewParams, by: Subject, of: Findings) -> Iterator[Check]:
    """Yield whether the metrics that must not fall behind base do; by default the one that decides for a side."""
    if asked.not_worse is None:
        if of.pairs is None:
            yield Check("against base", False, of.why_not or "there is nothing to compare")
            return
        rules = {finding.decides(by, of): NotWorse()}
    else:
        rules = dict(asked.not_worse)
    for name, rule in rules.items():
        key = f"review.not_worse.{name}"
        interval = of.intervals.get(name)
        if interval is None and of.pairs is not None:
            interval = bootstrap.difference(name, of.pairs.base, of.pairs.head)
        if interval is None:
            yield Check(key, False, of.why_not or "the rows that both have do not give it")
            continue
        sign = 1 if gates.lower_is_better(name) else -1
        worst, least = sorted((sign * interval.low, sign * interval.high), reverse=True)  # how much worse head is
        holds = worst <= rule.tolerance if rule.proven else least <= rule.tolerance
        if rule.proven and of.pairs is not None and of.pairs.shared < _PROOF:
            yield Check(key, False, f"{of.pairs.shared} rows prove nothing; it takes {_PROOF}")
            continue
        if name == of.metric and of.verdict is not None and of.verdict.outcome != "worse" and not rule.proven:
            holds = True  # McNemar's test is part of that verdict
        yield Check(
            key, holds,
            f"{signed(interval.difference)}, 95 % interval {signed(interval.low)} to {signed(interval.high)}, "
            f"may be worse by {shown(rule.tolerance)}{', proven' if rule.proven else ''}",
        )  # fmt: skip


def _model(asked: ReviewParams, of: Findings) -> Iterator[Check]:
    """Yield what came of the rules on the model."""
    model = of.models[-1]
    if asked.model_size is not None:
        most = size_in_bytes(asked.model_size)
        holds = model.bytes is not None and model.bytes <= most
        yield Check("review.model_size", holds, f"{model.bytes or 'unknown'} bytes, at most {asked.model_size}")
    if asked.prediction_time is not None:
        known = isinstance(model.seconds, float)
        holds = known and float(model.seconds or 0) <= asked.prediction_time
        said = f"{model.seconds:.3g} s a row, at most {asked.prediction_time:g}" if known else model.seconds
        yield Check("review.prediction_time", holds, str(said or "the model or its rows are not here; `--pull`"))


def _data(asked: ReviewParams, of: Findings, wanted_base: bool) -> Iterator[Check]:
    """Yield what came of the rules on the data; those that need data are refused where there are none."""
    rules = asked.data
    if of.looked is None:
        named = ("missing", "new_categories", "drift", "repeated")
        wanted = [name for name in named if getattr(rules, name) is not None] + (["leaks"] if rules.leaks else [])
        yield from (Check(f"review.data.{name}", False, _AWAY) for name in wanted)
        return
    if rules.leaks is not False:
        leaks = [f"{name} ({share:.1%})" for name, share in of.looked.giveaways.items()]
        said = f"alone predict the target: {', '.join(leaks)}" if leaks else "no column alone predicts the target"
        yield Check("review.data.leaks", not leaks, said)
    if rules.missing is not None:
        over = [f"{name} ({share:.1%})" for name, share in of.looked.missing.items() if share > rules.missing]
        yield Check(
            "review.data.missing", not over, _over(over, f"missing in more than {rules.missing:.1%} of the rows")
        )
    if rules.repeated is not None and of.repeated is not None:
        share = of.repeated / max(1, of.test_rows)
        yield Check(
            "review.data.repeated",
            share <= rules.repeated,
            f"{share:.1%} of the test rows, at most {rules.repeated:.1%}",
        )
    if wanted_base and not of.same_data:
        if not of.looked.compared:
            wanted = [name for name in ("new_categories", "drift") if getattr(rules, name) is not None]
            yield from (Check(f"review.data.{name}", False, f"base's: {_AWAY}") for name in wanted)
            return
        if rules.new_categories is not None:
            new = [f"{d.name} ({len(d.new)})" for d in of.looked.drifts if len(d.new) > rules.new_categories]
            yield Check(
                "review.data.new_categories", not new, _over(new, f"more than {rules.new_categories} new values")
            )
        if rules.drift is not None:
            far = [f"{d.name} ({d.index:.3f})" for d in of.looked.drifts if d.index > rules.drift]
            yield Check("review.data.drift", not far, _over(far, f"stability index over {rules.drift:g}"))


def _over(names: list[str], what: str) -> str:
    return f"{what}: {', '.join(names)}" if names else f"no column has {what}"
