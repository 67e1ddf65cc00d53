"""Take the pictures of docs/serving.md: the page of an endpoint, and what `trialtree endpoint status` prints.

    python -m benchmarks.serving_pictures REPOSITORY MODEL TABLE [--traffic SHARES] [--out FOLDER]

Writes serving-page.png and serving-status.png. MODEL is registered in the repository; the endpoint gets its name, the
rows of TABLE, and is deleted again. A home of its own keeps it apart from other endpoints of the user.
"""

import argparse
import io
import os
import pty
import subprocess
import tempfile
from pathlib import Path

from tests.browser import Page, browser

_WIDTH = 100  # letters
_DARK = "body {margin: 0; padding: 18px 22px; background: #1e1e1e; display: inline-block}"


def printed(command: list[str], folder: Path, env: dict[str, str]) -> str:
    """Return what a command prints to a terminal, colours and all."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, cwd=folder, env=env, stdout=theirs, stderr=theirs, stdin=theirs) as process:
        os.close(theirs)
        found = b""
        try:
            while block := os.read(ours, 65536):
                found += block
        except OSError:  # Linux's end of a terminal
            pass
        finally:
            os.close(ours)
        if process.wait():
            raise SystemExit(found.decode())
    return found.decode().replace("\r\n", "\n")


def html(text: str, title: str) -> str:
    """Return a page that looks like the terminal."""
    from rich.console import Console
    from rich.terminal_theme import MONOKAI
    from rich.text import Text

    console = Console(record=True, width=_WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text(f"$ {title}", style="bold"))
    console.print(Text.from_ansi(text))
    page = console.export_html(theme=MONOKAI, inline_styles=True)
    return page.replace("<style>", f"<style>{_DARK} pre {{font-size: 15px; color: #e6e6e6}} ", 1)


def take(page: Page, path: Path) -> None:
    """Save the whole of what is shown, and no more."""
    _resize(page, 1000, 100)
    _resize(page, page.evaluate("document.body.scrollWidth"), page.evaluate("document.documentElement.scrollHeight"))
    page.screenshot(path)


def _resize(page: Page, width: int, height: int) -> None:
    page.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)


def main() -> None:
    """Serve, ask, take, delete."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", type=Path)
    parser.add_argument("model")
    parser.add_argument("table")
    parser.add_argument("--traffic")
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    asked = parser.parse_args()
    name, out = asked.model, asked.out.absolute()
    with tempfile.TemporaryDirectory() as home:
        env = {**os.environ, "XDG_STATE_HOME": home, "COLUMNS": str(_WIDTH), "TERM": "xterm-256color"}

        def run(*command: str) -> str:
            return printed(["trialtree", *command], asked.repository, env)

        shares = ["--traffic", asked.traffic] if asked.traffic else []
        address = run("endpoint", "create", name, "--model", asked.model, "--workers", "2", *shares).split()[-1]
        try:
            for batch in ("1", "100"):
                run("call", name, asked.table, "--batch", batch, "--rows", "0")
            status = run("endpoint", "status", name).replace(home, "~/.local/state")
            status = status.replace(str(asked.repository.absolute()), "~/houses")
            with browser(1000, 700) as page:
                page.open(f"{address}/docs")
                page.settle()
                take(page, out / "serving-page.png")
                shown = Path(home, "status.html")
                shown.write_text(html(status, f"trialtree endpoint status {name}"), encoding="utf-8")
                page.open(shown.as_uri())
                page.settle()
                take(page, out / "serving-status.png")
        finally:
            run("endpoint", "delete", name)
    for path in sorted(out.glob("serving-*.png")):
        print(path, path.stat().st_size)


if __name__ == "__main__":
    main()
