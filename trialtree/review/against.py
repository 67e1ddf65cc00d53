"""Several trials against one base, in one table: the best is marked.

trialtree report --against main A B C …
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from stages import gates
from trialtree.review import finding
from trialtree.review import report as reporting
from trialtree.review.blocks import Bullets, Code, Line, Paragraph, Section, Strong, Table, value
from trialtree.review.finding import Findings, Options
from trialtree.review.verdict import Verdict, shown, signed


def report(heads: Sequence[str], base: str, out: Path | None, options: Options) -> list[str]:
    """Write a table of trials, and return what to print as `report.report` does.

    Raises:
        UserError: there is no such trial, or nothing can be written there.
    """
    reporting.check(out)
    rows: list[_Row] = []
    for head in dict.fromkeys(heads):
        with finding.found(head, base, replace(options, time=False, data=False)) as found:
            rows.append(_Row(found))
    title: Line = [f"{len(rows)} trials against ", Code(rows[0].base or base)]
    return reporting.printed(title, list(_sections(rows)), out)


class _Row:
    """What is told of a trial; its files are gone by then."""

    def __init__(self, of: Findings) -> None:
        self.name, self.short = of.head.name, of.head.short
        self.base = of.base.name if of.base else None
        self.verdict: Verdict | None = of.verdict
        self.why_not = of.why_not
        self.failed = [result.metric for result in of.gates if not result.holds]
        self.gates = ", ".join(self.failed) or ("pass" if of.gates else "–")
        self.params = {row.name: row.values for row in of.compared.params} if of.compared else {}
        self.notes = of.notes


def _best(rows: Sequence[_Row]) -> _Row | None:
    """Return the trial whose difference to base is best, of those whose gates hold and that are not worse."""
    judged = [(row, row.verdict) for row in rows if row.verdict is not None and row.verdict.outcome != "worse"]
    metrics = {verdict.metric for _, verdict in judged}
    able = [(row, verdict) for row, verdict in judged if not row.failed]
    if len(metrics) != 1 or not able:
        return None
    sign = -1 if gates.lower_is_better(metrics.pop()) else 1
    best = max(able, key=lambda one: sign * one[1].interval.difference)
    return best[0] if sign * best[1].interval.difference > 0 else None


def _sections(rows: Sequence[_Row]) -> "list[Section]":
    best = _best(rows)
    keys = list(dict.fromkeys(key for row in rows for key in row.params))
    table: list[list[Line]] = []
    for row in rows:
        found = row.verdict
        table.append([
            [Code(row.name), " ", Strong("best")] if row is best else Code(row.name),
            found.outcome if found else f"no verdict: {row.why_not}",
            shown(found.head) if found else "–",
            signed(found.interval.difference) if found else "–",
            f"{signed(found.interval.low)} to {signed(found.interval.high)}" if found else "",
            f"{found.rows:,}" if found else "",
            row.gates,
        ])  # fmt: skip
    metric = next((row.verdict.metric for row in rows if row.verdict), "metric")
    header = ["trial", "verdict", metric, "difference", "95 % interval", "rows", "gates"]
    sections = [Section("", [Table(header, table, left=2, most=100)])]
    if best is None:
        sections.append(
            Section("", [Paragraph("None is marked as best: none has a gain over base with its gates held.")])
        )
    if keys:
        changed: list[list[Line]] = [
            [Code(key), value(next(row.params[key][0] for row in rows if key in row.params)),
             *(value(row.params[key][1]) if key in row.params else "=" for row in rows)]
            for key in keys
        ]  # fmt: skip
        header = ["param", "base", *(row.name if len(row.name) <= 40 else row.short for row in rows)]
        sections.append(Section("Params", [Table(header, changed, left=len(header), file="params", most=50)]))
    if notes := list(dict.fromkeys(note for row in rows for note in row.notes)):
        sections.append(Section("Not told", [Bullets([[note] for note in notes])]))
    return sections
