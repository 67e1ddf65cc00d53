"""The page of an endpoint for people: what it predicts and takes, and how to ask. Nothing in it is from elsewhere."""

import json
import shlex
from html import escape
from typing import Any

from trialtree.serving.columns import KINDS, Field
from trialtree.serving.faults import cut
from trialtree.serving.openapi import example
from trialtree.serving.serving import Serving
from trialtree.serving.settings import Settings

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --strong: #2563eb; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.6rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
p { margin: .3rem 0; } .soft { opacity: .75; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; } td.number, th.number { text-align: right; }
code, pre { font: 13px/1.45 ui-monospace, monospace; }
code { background: var(--soft); padding: .1em .3em; border-radius: 3px; }
pre { background: var(--soft); padding: .7rem .9rem; border-radius: 6px; overflow-x: auto; margin: .4rem 0 1rem; }
pre code { padding: 0; }
.method { font: 600 12px ui-monospace, monospace; color: var(--strong); padding-right: .4rem; }
"""


def html(serving: Serving, settings: Settings, address: str) -> str:
    """Return the page; `address` is that of the endpoint for whoever looks at it."""
    served = serving.first
    scorer, planned = served.scorer, served.planned
    what = f"one of {', '.join(cut(str(label)) for label in scorer.labels[:12])}" if scorer.labels else "a number"
    parts = [
        f"<h1>{escape(serving.plan.name)}</h1>",
        f"<p>Predicts <b>{escape(scorer.target)}</b>, {escape(what)}, by {escape(scorer.estimator)}.</p>",
        f"<p class=soft>Model version {escape(planned.version)}, SHA-256 {escape(planned.digest[:12])}. "
        f'<a href="openapi.json">openapi.json</a>, <a href="metrics">metrics</a></p>',
        _models(serving),
        "<h2>What it takes</h2>",
        _columns(scorer.schema.fields, scorer.schema.unknown),
        "<h2>How to ask</h2>",
        *_examples(serving, settings, address),
        "<h2>Addresses</h2>",
        _addresses(serving.plan.name),
        "<h2>Limits</h2>",
        _limits(settings),
    ]
    title = escape(f"{serving.plan.name}: {scorer.target}")
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{title}</title><style>{_STYLE}</style><body>{''.join(parts)}</body></html>"
    )


def _table(head: list[str], rows: list[list[str]]) -> str:
    """Return a table of cells that are HTML."""
    top = "".join(f"<th>{name}</th>" for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<div class=wide><table><tr>{top}</tr>{body}</table></div>"


def _models(serving: Serving) -> str:
    """Return the models and their shares, where there is more than one."""
    if len(serving.plan.models) == 1:
        return ""
    rows = [
        [escape(each.version), escape(each.alias or ""), "shadow" if each.shadow else f"{each.share:.0%}"]
        for each in serving.plan.models
    ]
    return f"<h2>Models</h2>{_table(['version', 'alias', 'requests'], rows)}"


def _columns(fields: tuple[Field, ...], unknown: bool) -> str:
    rows = []
    for each in fields:
        values = ", ".join(f"<code>{escape(cut(text))}</code>" for text in each.categories[:12])
        more = f" and {len(each.categories) - 12} more" if len(each.categories) > 12 else ""
        other = ", or any other" if each.categories and (unknown or each.type == "text") else ""
        gaps = "may be missing" if each.gaps else ""
        rows.append([f"<code>{escape(each.name)}</code>", KINDS[each.type], gaps, values + more + other])
    return _table(["column", "value", "gaps", "categories"], rows)


def _examples(serving: Serving, settings: Settings, address: str) -> list[str]:
    schema = serving.first.scorer.schema
    row: dict[str, Any] = {each.name: example(each) for each in schema.fields}
    where = shlex.quote(f"{address}/invocations")
    key = ' -H "Authorization: Bearer $KEY"' if settings.keys else ""
    body = json.dumps({"dataframe_records": [row]}, ensure_ascii=False)
    line = ",".join(f'"{v}"' if isinstance(v, str) and set(v) & set(',"\n') else str(v) for v in row.values())
    asked = f"curl {where}{key} -H 'Content-Type: application/json' \\\n  -d {shlex.quote(body)}"
    csv = f"curl {where}{key} -H 'Content-Type: text/csv' \\\n  -d {shlex.quote(line)}"
    found = ["<p>JSON</p>", f"<pre>{escape(asked)}</pre>", "<p>CSV, without a header</p>", f"<pre>{escape(csv)}</pre>"]
    if serving.first.scorer.has_probabilities:
        found.append("<p><code>?probabilities=true</code> answers with a probability for each label.</p>")
    table = f"<p>A whole table</p><pre>{escape(f'trialtree call {shlex.quote(address)} TABLE.csv')}</pre>"
    return [*found, table]


def _addresses(name: str) -> str:
    rows = [
        ("POST", "/invocations", "MLflow's and SageMaker's protocol: JSON, CSV, Arrow, Parquet"),
        ("POST", "/score", "Azure ML's protocol"),
        ("POST", f"/v2/models/{name}/infer", "the Open Inference Protocol"),
        ("GET", "/ready", "whether it takes requests, as /ping, /health and /v2/health/ready"),
        ("GET", "/live", "whether the process answers, as /v2/health/live"),
        ("GET", "/version", "the versions that are served"),
        ("GET", "/metrics", "what was counted, for Prometheus"),
        ("GET", "/openapi.json", "all this for programs"),
    ]
    return _table(["address", ""], [[f"<span class=method>{m}</span><code>{escape(p)}</code>", w] for m, p, w in rows])


def _limits(settings: Settings) -> str:
    said = [
        f"{settings.max_body / 1e6:g} MB and {settings.max_rows:,} rows a request (status 413)",
        f"{settings.timeout:g} s for a body to arrive (408), and as many for the answer (504)",
        f"{settings.concurrency} requests at once for each worker (429, with Retry-After)",
        "a key, as <code>Authorization: Bearer KEY</code> or <code>X-API-Key: KEY</code> (401)" if settings.keys
        else "no key is asked for",
    ]  # fmt: skip
    return "".join(f"<p>{line}</p>" for line in said)
