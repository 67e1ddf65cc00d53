"""A report's Markdown, HTML and CSV hold whatever data they tell of."""

import csv
import io
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests import reviewing
from tests.browser import browser, chromium
from tests.conftest import Repo
from tests.reviewing import branch, report, rows, trial, write
from trialtree.review import markdown, page
from trialtree.review import report as reporting
from trialtree.review.blocks import Bullets, Code, Commands, Line, Paragraph, Picture, Section, Strong, Table

HOSTILE = [
    "<script>document.title = 'run'</script>", "<img src=x onerror=\"document.title='run'\">", "a|b|c", "`code`", "``",
    "=1+1", "@SUM(A1)", "+1", "-2+3", "@someone", "#12", "[link](https://example.org)", "![p](https://example.org/p)",
    "</td></tr></table>", "</details>", "שלום", "\u202eevil", "a\nb", "\x00\x1b[31m", "*a* _b_ ~c~", "\\", "&lt;b&gt;",
    "n" * 10_000, "https://example.org", "$x$", " ",
]  # fmt: skip


def as_markdown(*sections: Section, limit: int = markdown.LIMIT) -> str:
    """Return sections as Markdown, pictures in a folder."""
    return markdown.render("Title", sections, lambda picture: f"plots/{picture.name}.png", limit)


def table(cells: list[Line], left: int = 2) -> Table:
    """Return a table with a row for each cell, between two plain ones."""
    return Table(["a", "b", "c"], [["1", cell, "2"] for cell in cells], left=left, most=1000)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_name_stays_one_cell_of_code_in_a_table(text: str) -> None:
    line = as_markdown(Section("", [table([Code(text)])])).rstrip().split("\n")[-1]
    assert line.startswith("| 1 | `")
    assert line.endswith("` | 2 |")
    inner = line.removeprefix("| 1 | ").removesuffix(" | 2 |")
    fence = inner[: len(inner) - len(inner.lstrip("`"))]
    assert inner.endswith(fence)
    content = inner[len(fence) : -len(fence)]
    assert fence not in content
    assert "|" not in content.replace("\\|", "")  # GFM takes a bar for the end of a cell even within backticks
    assert len(content) <= 80
    assert "\u202e" not in content


def test_words_of_ours_are_no_markup() -> None:
    text = as_markdown(Section("", [Paragraph("a_b * [c] <d> | `e`"), Bullets([["x ", Strong("y*z"), Code("w")]])]))
    assert text.splitlines()[3] == "a\\_b \\* \\[c\\] \\<d\\> \\| `e`"
    assert text.splitlines()[5] == "- x **y\\*z**`w`"


def test_long_tables_are_cut_until_all_fits_and_say_so() -> None:
    sections = [Section(f"S{n}", [table([Code("x" * 50)] * 400)]) for n in range(10)]
    text = as_markdown(*sections, limit=20_000)
    assert len(text) <= 20_000
    assert text.count("### S") == 10
    assert text.count("*and 390 more*") == 10


def test_what_is_still_too_long_is_cut_between_blocks_with_nothing_open() -> None:
    folded = Section("Folded", [Paragraph("word " * 50)] * 20, folded=True)
    commands = Section("After", [Commands(["line"] * 50)])
    for limit in range(600, 3000, 7):
        text = as_markdown(folded, commands, limit=limit)
        assert len(text) <= limit
        assert text.count("<details>") == text.count("</details>")
        assert text.count("```") % 2 == 0
        assert text.endswith(
            "*Cut here: a comment takes no more. `trialtree report --out report.html` has all of it.*\n"
        )
    assert as_markdown(folded, commands, limit=8000).count("word") == 1000


def test_pictures_that_nobody_can_see_leave_no_empty_section() -> None:
    section = Section("Plots", [Picture("roc", "ROC", b"")], folded=True)
    assert markdown.render("Title", [section], lambda _: None) == "<!-- trialtree report -->\n## Title\n\n"


def test_a_picture_has_words_and_a_section_may_be_folded() -> None:
    text = as_markdown(Section("Plots", [Picture("roc", "ROC of a_b", b"")], folded=True))
    assert text.endswith("<details><summary>Plots</summary>\n\n![ROC of a\\_b](plots/roc.png)\n\n</details>\n\n")


class Tags(HTMLParser):
    """The tags of a page, and its texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.cells: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not [name for name, _ in attrs if name.startswith("on")]
        self.found.append(tag)
        if tag == "code":
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.found[-1:] == ["code"] and self.cells and not self.cells[-1]:
            self.cells[-1] = data


def test_a_page_shows_names_as_they_are_and_nothing_of_them_is_markup() -> None:
    found = Tags(page.render("Title", [Section("", [table([Code(text) for text in HOSTILE])])]))
    assert not {"script", "img", "a", "iframe"} & {*found.found}
    assert found.cells == [Code(text).shown for text in HOSTILE]


def test_no_cell_of_a_csv_file_is_a_formula() -> None:
    text = reporting.as_csv(table([Code(text) for text in [*HOSTILE, "-1.5", "+2", "\tx"]]))
    cells = [line[1] for line in csv.reader(io.StringIO(text))][1:]
    assert len(cells) == len(HOSTILE) + 3
    for cell in cells:
        assert not cell.startswith(("=", "@", "\t", "\r")) or cell == ""
        if cell.startswith(("+", "-")):
            float(cell)


def test_commands_are_quoted_for_a_shell() -> None:
    assert "```console\ndvc pull\n```" in as_markdown(Section("", [Commands(["dvc pull"])]))


# In a browser.


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """A repository whose columns and categories are what a browser must not take for its own."""
    repo = reviewing.made(tmp_path_factory.mktemp("hostile"))
    branch(repo, "hostile", {"fetch.header": True})
    names = [*HOSTILE[:8], "שלום", "w" * 10_000]
    extra = [[*line[:3], *((n * (k + 3)) % 7 + k for k in range(len(names))), line[3]] for n, line in enumerate(rows())]
    named = [[*line[:2], HOSTILE[n % 13], *line[3:]] for n, line in enumerate(extra)]
    write(repo, named, ("age", "income", "city", *names, "default"))
    trial(repo, "Hostile")
    return repo


@pytest.mark.slow
def test_a_hostile_table_runs_nothing_in_a_browser_at_any_width(hostile: Repo, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report(hostile, "hostile", "--out", str(out))
    text = (out / "report.md").read_text(encoding="utf-8")
    for line in text.splitlines():
        if line.startswith("| "):
            assert line.endswith(" |")
    assert len(text) <= markdown.LIMIT
    chromium()
    with browser() as shown:
        shown.open((out / "report.html").as_uri())
        for width in (1200, 375):
            shown.ask("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=True)
            assert shown.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), width
        assert shown.evaluate("document.title").startswith("Trial hostile ")
        assert shown.evaluate("document.querySelectorAll('script, a, iframe, code img').length") == 0
        assert shown.evaluate("document.querySelectorAll('img').length") == text.count("](plots/")
        shown.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert shown.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        said = shown.text()
    for name in ("<script>document.title", "a|b|c", "=1+1", "@SUM(A1)", "שלום", "w" * 59 + "…"):
        assert name in said
