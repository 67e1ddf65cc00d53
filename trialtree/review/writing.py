"""The findings in the words and tables of a report."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stages import gates
from trialtree.queries.differences import Row
from trialtree.review import drawn, drift
from trialtree.review.blocks import (
    Block,
    Bullets,
    Code,
    Commands,
    Line,
    Paragraph,
    Piece,
    Section,
    Strong,
    Table,
    joined,
    value,
)  # fmt: skip
from trialtree.review.drift import Drift
from trialtree.review.finding import Findings, Model
from trialtree.review.provenance import Origin
from trialtree.review.subjects import Subject
from trialtree.review.verdict import Verdict, shown, signed

_PARTS = ("test", "validation", "cv", "script")
_RULES = ("review.", "register.gates.")
_HASHES = 7
_SOME = 8  # names in a sentence


def title(of: Findings) -> Line:
    """Return the heading: what is compared with what."""
    if of.base is None:
        return ["Trial ", Code(of.head.name), f" ({of.head.short})"]
    return ["Trial ", Code(of.head.name), f" ({of.head.short}) against ", Code(of.base.name), f" ({of.base.short})"]


def sections(of: Findings, origins: Sequence[Origin], swept: Sequence[Section] = ()) -> list[Section]:
    """Return the report, what matters most first; `origins` are base's and head's."""
    pictures = list(drawn.pictures(of))  # while the models are tried
    of.wait()
    found = [
        Section("", list(_verdict(of))),
        Section("Warnings", [Bullets(list(warnings(of)))]),
        Section("Metrics", list(_metrics(of))),
        Section("Params", list(_params(of))),
        Section("Data", list(_data(of))),
        Section("Code", list(_code(of))),
        Section("Model", list(_model(of))),
        *swept,
        Section("Plots", pictures, folded=True),
        Section("Where it comes from", list(_origins(of, origins))),
        Section("Not told", [Bullets([[note] for note in of.notes])]),
    ]
    return [section for section in found if _has_content(section)]


def _has_content(section: Section) -> bool:
    return any(
        not (isinstance(block, Bullets) and not block.lines) and not (isinstance(block, Table) and not block.rows)
        for block in section.blocks
    )


# The verdict.


def _verdict(of: Findings) -> Iterator[Block]:
    if of.verdict is None:
        yield Paragraph([Strong("No verdict"), f": {of.why_not or 'there is nothing to compare'}."])
    else:
        yield Paragraph(_said(of.verdict))
        yield Paragraph(_on_which(of))
    if of.pairs is not None and of.pairs.same_test:
        return  # scored again, base's model says the same
    if of.rescored is not None:
        yield Paragraph([f"Base's model on all of head's test rows ({of.rescored.rows:,}): ", *_said(of.rescored)])
    elif of.rescored_not is not None:
        yield Paragraph(f"Base's model is not scored on head's test rows: {of.rescored_not}.")


def _said(verdict: Verdict) -> list[Piece]:
    """Return a verdict, its first words strong."""
    first, mark, rest = str(verdict).partition(":")
    return [Strong(first), mark, rest]


def _on_which(of: Findings) -> list[Piece]:
    """Return which rows the verdict is on, and what else they say."""
    assert of.pairs is not None  # noqa: S101  # there is a verdict
    assert of.verdict is not None  # noqa: S101  # the same
    pairs, found = of.pairs, of.verdict
    known = pairs.known
    if pairs.same_test:
        said: list[Piece] = [f"Both test parts are the same {pairs.shared:,} rows, matched {known}."]
    else:
        said = [
            f"The test parts differ: of {pairs.rows[0]:,} rows of base and {pairs.rows[1]:,} of head, "
            f"{pairs.shared:,} are in both, matched {known}, and only these are compared."
        ]
        if of.rescored is None:
            said += [" ", Code("--rescore"), " scores base's model on head's rows."]
    if pairs.relabelled:
        said.append(f" {pairs.relabelled:,} rows of other targets are left out.")
    if (test := found.mcnemar) is not None and not found.identical:
        said.append(
            f" Only head gets {test.only_head:,} rows right, only base {test.only_base:,} "
            f"(McNemar's test, p = {test.p:.2g})."
        )
    return said


# Warnings.


def warnings(of: Findings) -> Iterator[Line]:
    """Yield what a reviewer must not miss."""
    if of.stale:
        yield f"dvc.lock is not that of this commit, and what is told below is of another: {'; '.join(of.stale)}."
    if of.rows is not None and of.rows.learned:
        learned = of.rows.learned
        yield (
            f"{_rows(learned)} of head's test part {'was' if learned == 1 else 'were'} in base's train part: base's "
            "model has learned them."
        )
    if of.pairs is not None and of.pairs.relabelled:
        yield f"{_rows(of.pairs.relabelled)} of both test parts have another target on each side."
    if changed := [row.name for row in of.compared.params if row.name.startswith(_RULES)] if of.compared else []:
        yield ["This branch changes the rules that it is judged by: ", *_names(changed), "."]
    looked = of.looked
    for name, share in looked.giveaways.items() if looked else ():
        yield [
            "The column ",
            Code(name),
            f" alone predicts the target almost perfectly ({share:.1%}): is it known before?",
        ]
    for name, rows in looked.in_both.items() if looked else ():
        yield ["Of ", Code(name), f", {_rows(rows)} of the test part have a value that the train part has too."]
    if of.repeated:
        yield f"{_rows(of.repeated)} of the test part equal a row of the train part in all features."
    for one in looked.drifts if looked else ():
        if one.index > drift.LARGE:
            yield [Code(one.name), f" has drifted far (stability index {one.index:.2f})."]
    for result in of.gates:
        if not result.holds:
            yield _gate(result)


def _rows(count: int) -> str:
    return f"{count:,} row{'s' * (count != 1)}"


def _gate(result: gates.Result) -> str:
    text = str(result)
    return text[0].upper() + text[1:] + "."


# Metrics.


def _metrics(of: Findings) -> Iterator[Block]:
    metrics = of.head.side.metrics if of.head.side else {}
    rows = of.compared.metrics if of.compared else [Row(name, [value]) for name, value in metrics.items()]
    rows = sorted(
        (r for r in rows if not r.name.endswith("_std")), key=lambda row: (_part(row.name), not _main(of, row))
    )
    if of.base is None:
        yield Table(["metric", "value"], [[_name(of, row), _figure(row.values[0])] for row in rows])
    else:
        both = of.pairs is not None and not of.pairs.same_test
        known = f"on the {of.pairs.shared:,} rows of both" if of.pairs and both else "95 % interval"
        yield Table(
            ["metric", "base", "head", "difference", known],
            [[_name(of, row), *map(_figure, row.values), *_change(of, row, both=both)] for row in rows],
        )
    if of.gates:
        yield Table(
            ["gate", "rule", "value", "result"],
            [[Code(r.metric), r.rule, _figure(r.value), "pass" if r.holds else Strong("fail")] for r in of.gates],
            left=2,
        )


def _main(of: Findings, row: Row) -> bool:
    return row.name == f"test.{of.metric}"


def _part(name: str) -> int:
    part = name.partition(".")[0]
    return _PARTS.index(part) if part in _PARTS else len(_PARTS)


def _name(of: Findings, row: Row) -> Line:
    return [Code(row.name), " ", Strong("decides")] if of.base is not None and _main(of, row) else Code(row.name)


def _figure(number: float | None) -> str:
    return "–" if number is None else f"{number:,}" if isinstance(number, int) else shown(number)


def _change(of: Findings, row: Row, *, both: bool) -> list[Line]:
    """Return a metric's difference and its interval, marked as better or worse where the rows show it.

    With `both` the interval is of other rows than the difference, and stands with its own.
    """
    change = row.changes()[1]
    part, _, name = row.name.partition(".")
    interval = of.intervals.get(name) if part == "test" else None
    if name in of.unlike:
        return ["–", ""]
    said = "–" if change is None else _signed(change)
    if interval is None or change is None or interval.low == interval.high:
        return [said, ""]
    ends = f"{signed(interval.low)} to {signed(interval.high)}"
    mark = ""
    if interval.excludes_zero:
        mark = " better" if (interval.difference < 0) == gates.lower_is_better(name) else " worse"
    return [said, f"{signed(interval.difference)}{mark}: {ends}"] if both else [said + mark, ends]


def _signed(change: float) -> str:
    if change == 0:
        return "="
    return f"{change:+,}".replace("-", "−") if isinstance(change, int) else signed(change)


# What changed.


def _params(of: Findings) -> Iterator[Block]:
    if of.compared is None:
        return
    rows = [[Code(row.name), *map(value, row.values)] for row in of.compared.params]
    if rows:
        yield Table(["param", "base", "head"], rows, left=3, file="params", most=50)
    else:
        yield Paragraph("The same.")


def _data(of: Findings) -> Iterator[Block]:
    if of.compared is None:
        return
    if not of.compared.data:
        yield Paragraph("The same data, dealt out the same.")
        return
    rows = [[Code(row.name), *(_hash(each) for each in row.values)] for row in of.compared.data]
    yield Table(["version", "base", "head"], rows, left=3)
    for what, columns in of.columns.items():
        if columns:
            yield Paragraph([f"Columns {what}: ", *_names([f"{c.name}: {c.type}" for c in columns]), "."])
    if of.rows is not None:
        yield Table(
            ["part", "rows of base", "rows of head", "stayed", "from another part", "changed", "added", "removed"],
            [
                [p.part, *(f"{n:,}" for n in (p.before, p.now, p.stayed, p.moved, p.changed, p.added, p.removed))]
                for p in of.rows.parts
                if p.before or p.now
            ],
        )
    if of.looked is not None and of.looked.drifts:
        moved = [one for one in of.looked.drifts if one.index > 0]
        yield from _drifts(moved, len(of.looked.drifts))


def _drifts(moved: Sequence[Drift], columns: int) -> Iterator[Block]:
    some = sum(one.index > drift.SOME for one in moved)
    yield Paragraph(
        f"Of {columns:,} columns that both have, {some:,} {'has' if some == 1 else 'have'} drifted "
        f"(population stability index above {drift.SOME})."
    )
    yield Table(
        ["column", "base", "head", "middle or most frequent", "missing", "stability index"],
        [
            [
                Code(one.name), *(one.sparks or ("", "")), [Code(one.middle[0]), " → ", Code(one.middle[1])],
                f"{one.missing[0]:.1%} → {one.missing[1]:.1%}", f"{one.index:.3f}",
            ]
            for one in moved
        ],
        left=4, file="columns", most=15,
    )  # fmt: skip
    for one in moved:
        for what, names in (("new", one.new), ("gone", one.gone)):
            if names and len(names) <= 1000:
                yield Paragraph([Code(one.name), f": values {what}: ", *_names(names), "."])


def _names(names: Sequence[str]) -> list[Piece]:
    """Return some names, and how many more there are."""
    more = [f" and {len(names) - _SOME:,} more"] if len(names) > _SOME else []
    return [*joined([Code(name) for name in names[:_SOME]]), *more]


def _hash(of: Any) -> Line:
    if of is None:
        return "–"
    return Code(of[:_HASHES]) if isinstance(of, str) else f"{of:,}"


def _code(of: Findings) -> Iterator[Block]:
    if of.compared is None:
        return
    if of.stages:
        rows: list[list[Line]] = [[Code(stage), joined([Code(f) for f in files])] for stage, files in of.stages.items()]
        yield Table(["stage", "changed"], rows, left=2)
    else:
        yield Paragraph("The same.")


# The model.


def _model(of: Findings) -> Iterator[Block]:
    header = ["", "base", "head"] if of.base else ["", "head"]
    rows: list[list[Line]] = [
        ["estimator", *(Code(m.estimator) if m.estimator else "–" for m in of.models)],
        ["size", *(_size(m.bytes) for m in of.models)],
        ["a prediction", *(_time(m.seconds) for m in of.models)],
        ["columns", *("–" if m.features is None else f"{len(m.features):,}" for m in of.models)],
    ]
    if of.models:
        yield Table(header, [row for row in rows if any(cell != "–" for cell in row[1:])], left=len(header))
    if len(of.models) == 2:
        yield from _features(*of.models)
        yield from _importance(*of.models)


def _size(count: int | None) -> str:
    if count is None:
        return "–"
    power = min(3, (len(str(count)) - 1) // 3)
    return f"{count / 1000**power:.3g} {('B', 'kB', 'MB', 'GB')[power]}"


def _time(seconds: float | str | None) -> Line:
    if isinstance(seconds, float):
        return f"{seconds * 1e6:.3g} µs a row"
    return "–"


def _features(base: Model, head: Model) -> Iterator[Block]:
    if base.features is None or head.features is None:
        return
    for what, names in (
        ("new", [name for name in head.features if name not in base.features]),
        ("gone", [name for name in base.features if name not in head.features]),
    ):
        if names:
            yield Paragraph([f"Features {what}: ", *_names(names), "."])


def _importance(base: Model, head: Model) -> Iterator[Block]:
    """Yield the columns whose share of the importance moved most."""
    if not base.importance or not head.importance or base.importance == head.importance:
        return
    shares = [_shares(model.importance) for model in (base, head)]
    moved = {name: shares[1].get(name, 0) - shares[0].get(name, 0) for of in shares for name in of}
    order = sorted(moved, key=lambda name: (-abs(moved[name]), name))
    rows: list[list[Line]] = [
        [
            Code(name),
            *(f"{of[name]:.1%}" if name in of else "–" for of in shares),
            signed(100 * moved[name])[:6] + " points",
        ]
        for name in order
        if moved[name]
    ]
    yield Table(["importance moved", "base", "head", "difference"], rows, most=5)


def _shares(weights: Mapping[str, float]) -> dict[str, float]:
    total = sum(weights.values())
    return {name: weight / total if total else 0.0 for name, weight in weights.items()}


# Where it comes from.


def _origins(of: Findings, origins: Sequence[Origin]) -> Iterator[Block]:
    header = ["", *(("base", "head")[-len(origins) :])]
    rows: list[list[Line]] = [
        ["commit", *(Code(o.commit) for o in origins)],
        ["subject", *(Code(o.subject) for o in origins)],
        ["by", *(Code(o.who) for o in origins)],
        ["on", *(o.when for o in origins)],
        ["data first in", *(Code(o.data_commit[:_HASHES]) if o.data_commit else "–" for o in origins)],
        ["data in the remote", *("no remote" if o.in_remote == "-" else o.in_remote for o in origins)],
    ]
    yield Table(header, rows, left=len(header))
    yield Commands(list(_commands(of.head, origins[-1])))


def _commands(head: Subject, origin: Origin) -> Iterator[str]:
    """Yield how to get the trial, and how to bring it in."""
    if origin.experiment:
        yield f"dvc exp pull origin {shlex.quote(origin.experiment)}"
        yield f"dvc exp apply {shlex.quote(origin.experiment)}"
        return
    yield "git fetch origin"
    yield f"git switch --detach {origin.commit[:12]}"
    yield "dvc pull"
    branch = head.name.removeprefix("origin/")
    if branch != "HEAD" and not origin.commit.startswith(branch):
        yield f"trialtree finish {shlex.quote(branch)}   # takes main in, before it is merged"
