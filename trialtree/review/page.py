"""A report as one HTML file that needs nothing else: no script, no address, its pictures in it."""

import base64
import html
from collections.abc import Sequence

from trialtree.review.blocks import (
    Block,
    Bullets,
    Code,
    Commands,
    Line,
    Paragraph,
    Picture,
    Section,
    Strong,
    Table,
    pieces,
    plain,
)  # fmt: skip

# No script may run, whatever stands in the page.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
:root { color-scheme: light dark; --line: #d0d7de; --soft: #f6f8fa; --faint: #59636e }
@media (prefers-color-scheme: dark) { :root { --line: #3d444d; --soft: #151b23; --faint: #9198a1 } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 1.5rem auto; padding: 0 1rem;
  overflow-wrap: anywhere }
h1 { font-size: 1.35rem } h2 { font-size: 1.1rem; margin: 1.8rem 0 .5rem }
.table { overflow-x: auto; margin: .8rem 0 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { border: 1px solid var(--line); padding: .3rem .6rem; text-align: right; overflow-wrap: normal }
th { background: var(--soft) } td:not(.left) { white-space: nowrap } .left { text-align: left }
code { font: .87em ui-monospace, monospace; background: var(--soft); padding: .1em .3em; border-radius: 4px;
  unicode-bidi: isolate; white-space: pre-wrap }
pre { background: var(--soft); padding: .8rem 1rem; overflow-x: auto; font: .85em/1.5 ui-monospace, monospace }
img { max-width: 100%; height: auto; border-radius: 6px; margin: .4rem 0 }
details { margin: .8rem 0 } summary { cursor: pointer; font-weight: 600 } .more { color: var(--faint) }
"""


def render(title: Line, sections: Sequence[Section], *, files: bool = False) -> str:
    """Return a report as a page; `files` says whether CSV files of its long tables are beside it."""
    body = "\n".join(_section(section, files=files) for section in sections)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(plain(title))}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{_line(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def _section(section: Section, *, files: bool) -> str:
    body = "\n".join(_block(block, files=files) for block in section.blocks)
    title = html.escape(section.title)
    if section.folded:
        return f"<details><summary>{title}</summary>\n{body}\n</details>"
    return f"{f'<h2>{title}</h2>' if title else ''}\n{body}"


def _block(block: Block, *, files: bool) -> str:
    match block:
        case Paragraph():
            return f"<p>{_line(block.line)}</p>"
        case Bullets():
            return f"<ul>{''.join(f'<li>{_line(line)}</li>' for line in block.lines)}</ul>" if block.lines else ""
        case Table():
            link = f'<p><a href="{block.file}.csv">all of it as CSV</a></p>' if files and block.file else ""
            return _table(block) + (link if len(block.rows) > block.most else "")
        case Picture():
            content = base64.b64encode(block.png).decode()
            return f'<p><img src="data:image/png;base64,{content}" alt="{html.escape(block.alt)}"></p>'
        case Commands():
            return f"<pre>{html.escape(chr(10).join(block.lines))}</pre>"


def _table(table: Table) -> str:
    if not table.rows:
        return ""
    head = _row("th", [html.escape(name) for name in table.header], table.left)
    rows = [_row("td", [_line(cell) for cell in row], table.left) for row in table.rows]
    shown = f'<div class="table"><table>{head}{"".join(rows[: table.most])}</table></div>'
    if left := rows[table.most :]:
        more = f'<div class="table"><table>{head}{"".join(left)}</table></div>'
        return f'{shown}<details><summary class="more">and {len(left):,} more</summary>{more}</details>'
    return shown


def _row(tag: str, cells: Sequence[str], left: int) -> str:
    made = (f"<{tag}{' class=left' if place < left else ''}>{cell}</{tag}>" for place, cell in enumerate(cells))
    return f"<tr>{''.join(made)}</tr>"


def _line(line: Line) -> str:
    found = ""
    for piece in pieces(line):
        if isinstance(piece, Code):
            found += f"<code>{html.escape(piece.shown)}</code>"
        elif isinstance(piece, Strong):
            found += f"<strong>{html.escape(piece.text)}</strong>"
        else:
            found += html.escape(piece)
    return found
