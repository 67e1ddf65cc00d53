"""The command line: parses, calls, prints; no logic.

trialtree check
trialtree data add FILE...
"""

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from trialtree import repository

app = typer.Typer(
    help="A machine-learning platform for tabular models inside one Git repository.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="The tables that a repository trains on.", no_args_is_help=True)
app.add_typer(data_app, name="data")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"trialtree {version('trialtree')}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave."),
    ] = False,
) -> None:
    pass


@app.command()
def check() -> None:
    """Say all that is wrong with params.yaml and dvc.yaml, without running anything."""
    repository.enter()
    from trialtree import checking

    faults = checking.faults()
    for fault in faults:
        print(fault, file=sys.stderr)
    if faults:
        raise typer.Exit(1)
    print("params.yaml and dvc.yaml are in order")


@data_app.command()
def add(files: Annotated[list[Path], typer.Argument(help="CSV or Parquet files, or folders of them.")]) -> None:
    """Put tables under data/source/ and under DVC, and make them the source of params.yaml."""
    given = [path.absolute() for path in files]
    repository.enter()
    from trialtree import data

    for line in data.add(given):
        print(line)


def main() -> None:
    """Run the command line; what a person can mend is one line and status 1."""
    repository.run(app)


if __name__ == "__main__":
    main()
