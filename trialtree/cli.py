"""The command line: parses, calls, prints; no logic.

trialtree check
trialtree data add FILE|ADDRESS...
trialtree data check
trialtree data update
trialtree data at REV PATH
trialtree remote URL
trialtree start NAME
trialtree run [STAGE...]
trialtree list
trialtree finish NAME
trialtree lineage OF
trialtree track [REV...] [--all]
trialtree ui
trialtree logs [TRIAL]
trialtree runs
trialtree compare A B...
trialtree sweep
trialtree sweep show [SWEEP]
trialtree sweeps
trialtree best [SWEEP]
trialtree queue run
trialtree report [REV...]
trialtree gate [REV]
trialtree serve MODEL
trialtree endpoint create NAME
trialtree endpoint list
trialtree endpoint status NAME
trialtree endpoint logs NAME
trialtree endpoint traffic NAME [TRAFFIC]
trialtree endpoint delete NAME
trialtree endpoint key NAME
trialtree predict MODEL INPUT... --out OUT
trialtree call URL TABLE
trialtree package MODEL --out DIR
"""

import json
import os
import sys
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
import typer.core

from trialtree import cli_serving, repository

app = typer.Typer(
    help="A machine-learning platform for tabular models inside one Git repository.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="The tables that a repository trains on.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(cli_serving.app)


class Executor(StrEnum):
    """Who makes the trials of a sweep."""

    ENGINE = "engine"
    CLI = "cli"


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

    faults = checking.faults(of_sweep=os.environ.get(checking.OF) != "trial")
    for fault in faults:
        print(fault, file=sys.stderr)
    if faults:
        raise typer.Exit(1)
    print("params.yaml and dvc.yaml are in order")


@data_app.command()
def add(
    tables: Annotated[
        list[str],
        typer.Argument(
            help="CSV or Parquet files, or folders of them; or addresses: https://…, s3://…, "
            "dvc:REPOSITORY#PATH@REVISION, openml:NUMBER."
        ),
    ],
    endpoint: Annotated[str | None, typer.Option(help="Address of an S3 server that is not Amazon's.")] = None,
) -> None:
    """Make tables the source of params.yaml: files come under data/source/ and DVC, addresses are pinned by a hash."""
    here = Path.cwd()
    repository.enter()
    from trialtree import data

    for line in data.add_all(tables, here, endpoint):
        print(line)


@data_app.command("check")
def check_data() -> None:
    """Say whether the source has changed since it was pinned; status 1 if it has."""
    repository.enter()
    from trialtree import pins

    changes = pins.check()
    for line in changes:
        print(line)
    if changes:
        raise typer.Exit(1)
    print("unchanged")


@data_app.command("update")
def update_data() -> None:
    """Pin what the source holds now, in params.yaml or by `dvc add`."""
    repository.enter()
    from trialtree import pins

    for line in pins.update() or ["unchanged"]:
        print(line)


@data_app.command()
def at(
    rev: Annotated[str, typer.Argument(help="A commit, branch, tag or DVC experiment.")],
    path: Annotated[str, typer.Argument(help="A table of it, such as data/raw.parquet or data/split/test.")],
    rows: Annotated[int, typer.Option(min=0, help="Rows to print.")] = 10,
    columns: Annotated[str, typer.Option(help="Columns, with commas between them; default: all.")] = "",
    out: Annotated[Path | None, typer.Option(help="Write the whole table to this .parquet or .csv file.")] = None,
) -> None:
    """Print a table of a revision, or write it to a file, without checking the revision out."""
    target = out and out.absolute()
    repository.enter()
    from trialtree import at as reading
    from trialtree import printing

    chosen = [name.strip() for name in columns.split(",") if name.strip()]
    if target:
        print(printing.written(reading.write(rev, path, target, chosen), target))
    else:
        printing.show(reading.show(rev, path, rows, chosen))


@app.command()
def lineage(
    of: Annotated[
        str, typer.Argument(help="NAME/3, NAME@champion, a run, a revision, data/split@REV or a hash of data.")
    ],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print what a model, a run, a revision or data came from, and what came of it."""
    repository.enter()
    from trialtree import lineage as chains

    chains.show(of, as_json=json)


@app.command()
def track(
    revs: Annotated[
        list[str] | None,
        typer.Argument(help="Commits, branches, tags or DVC experiments; without, the trial that stands here."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every trial that Git holds.")] = False,
) -> None:
    """Publish trials to MLflow from what Git and DVC hold, and add their commits to their runs and models."""
    repository.enter()
    from trialtree import revisions
    from trialtree.tracking import track as tracking

    if everything and revs:
        raise typer.BadParameter("give revisions or --all, not both")
    said = tracking.everything() if everything else tracking.some([revisions.commit(rev) for rev in revs or ()])
    try:
        for line in said:
            print(line, flush=True)
    except KeyboardInterrupt:
        print("stopped; what is published stays, and the same command goes on", file=sys.stderr)
        raise typer.Exit(130) from None


@app.command()
def ui(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Where to serve it; a free one where it is taken.")
    ] = 5000,
    host: Annotated[str, typer.Option(help="The address of this machine to serve it on.")] = "127.0.0.1",
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address only.")] = False,
) -> None:
    """Open the MLflow page of the repository's runs and models."""
    repository.enter()
    from trialtree import ui as page

    page.show(host, port, browser=not no_browser, say=lambda line: print(line, flush=True))


@app.command()
def remote(  # noqa: PLR0913, PLR0917  # a command's options are its arguments
    url: Annotated[str, typer.Argument(help="s3://bucket/prefix, a folder, or any address that DVC takes.")],
    endpoint: Annotated[str | None, typer.Option(help="The S3 server, for MinIO and the like.")] = None,
    name: Annotated[str, typer.Option(help="The remote's name.")] = "store",
    profile: Annotated[str | None, typer.Option(help="The profile of ~/.aws to take credentials from.")] = None,
    region: Annotated[str | None, typer.Option(help="The bucket's region.")] = None,
    save_credentials: Annotated[
        bool, typer.Option("--save-credentials", help="Keep the environment's credentials in .dvc/config.local.")
    ] = False,
) -> None:
    """Set the DVC remote that tables and models are pushed to, once it has proved to work."""
    here = Path.cwd()
    repository.enter()
    from trialtree.remotes import setting

    wanted = setting.Wanted(setting.located(url, here), name, endpoint, profile, region, save_credentials)
    for line in setting.set_up(wanted):
        print(line)


@app.command()
def start(
    name: Annotated[str, typer.Argument(help="The branch to make.")],
    given: Annotated[Path | None, typer.Option("--from", help="A file to take as params.yaml.")] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set-param", "-S", help="KEY=VALUE, +KEY=VALUE or ~KEY, as dvc exp run takes it."),
    ] = None,
    base: Annotated[str, typer.Option(help="The commit to start at.")] = "HEAD",
) -> None:
    """Make a branch for a trial, with its params."""
    given = given.absolute() if given else None
    repository.enter()
    from trialtree.branches import starting

    for line in starting.start(name, given, sets or (), base):
        print(line)


@app.command()
def run(
    stages: Annotated[list[str] | None, typer.Argument(help="Stages of dvc.yaml; all without.")] = None,
    pull: Annotated[bool, typer.Option("--pull", help="Pull what is not here and has not changed.")] = False,
    push: Annotated[bool, typer.Option("--push", help="Push data and branch afterwards.")] = False,
    message: Annotated[str | None, typer.Option("--message", "-m", help="The commit's message.")] = None,
) -> None:
    """Run what changed (dvc repro), and commit the trial."""
    repository.enter()
    from trialtree.branches import running

    for line in running.run(stages or (), pull=pull, push=push, message=message):
        print(line, flush=True)


@app.command("list")
def list_trials(
    all_commits: Annotated[
        bool, typer.Option("--all-commits", "--all", help="Every trial of the branches, not the last.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the trials on branches and the experiments."""
    repository.enter()
    from trialtree.branches import listing, showing

    found, notes = listing.trials(all_commits=all_commits)
    if as_json:
        print(json.dumps([trial.as_json() for trial in found], indent=2, ensure_ascii=False))
    elif found:
        showing.show(found)
    else:
        notes = ["no trial yet: `trialtree run` makes one"]
    for note in notes:
        print(note, file=sys.stderr)


@app.command()
def finish(
    name: Annotated[str, typer.Argument(help="The trial's branch.")],
    onto: Annotated[str, typer.Option(help="What it is to be merged into.")] = "main",
    pull: Annotated[bool, typer.Option("--pull", help="Pull what is not here and has not changed.")] = False,
) -> None:
    """Take main into a trial's branch and make the trial anew, so that it merges without a conflict."""
    repository.enter()
    from trialtree.branches import finishing

    for line in finishing.finish(name, onto, pull=pull):
        print(line, flush=True)


@app.command()
def logs(
    trial: Annotated[
        str | None,
        typer.Argument(help="A branch, commit, tag, DVC experiment, or SWEEP/NUMBER; default: what ran here last."),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on while it runs.")] = False,
    stage: Annotated[str | None, typer.Option(help="One stage only.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print what the stages of a trial printed, and how they ended."""
    repository.enter()
    from trialtree.logs import finding, showing

    if follow and as_json:
        raise finding.LogsError("--json prints once; leave --follow out")
    found = finding.find(trial)
    if as_json:
        print(json.dumps(showing.as_json(found, showing.chosen(found, stage)), indent=2, ensure_ascii=False))
    elif follow:
        try:
            showing.follow(found, stage)
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
    else:
        showing.show(showing.chosen(found, stage))


@app.command()
def runs(  # noqa: PLR0913, PLR0917  # a command's options are its arguments
    sort: Annotated[
        str | None, typer.Option(help="By a metric, the best first; -METRIC falling, +METRIC rising.")
    ] = None,
    where: Annotated[
        str | None, typer.Option(help="\"params.C > 1 and (tags.branch = 'x' or not metrics.accuracy < 0.9)\"")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Runs to print.")] = None,
    experiment: Annotated[str | None, typer.Option(help="Of MLflow; default: that of params.yaml.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Those of every experiment.")] = False,
    kind: Annotated[list[str] | None, typer.Option(help="trial (default), stage, branch, sweep; repeatable.")] = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="The other way round.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the runs of MLflow: the newest first, or the best."""
    repository.enter()
    from trialtree.queries import asking

    asking.runs(asking.Asked(sort, where, limit, experiment, every, kind or ["trial"], reverse, as_json))


@app.command()
def compare(
    of: Annotated[list[str], typer.Argument(help="Branches, commits, tags, DVC experiments, or `workspace`.")],
    plot: Annotated[Path | None, typer.Option(help="Draw metrics and curves into this .png file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say in which params, metrics, data and files of code trials differ."""
    target = plot and plot.absolute()
    repository.enter()
    from trialtree.queries import comparing, differences, pictures, sides

    if target:
        pictures.check(target)
    found = differences.compare(sides.read(of))
    if as_json:
        print(json.dumps(found.as_json(), indent=2, ensure_ascii=False, default=str))
    else:
        comparing.show(found)
    if target:
        pictures.draw(found, target)
        print(target, file=sys.stderr)


class _Sweep(typer.core.TyperGroup):
    """`trialtree sweep`, whose --resume and --rerun-failed may be followed by a sweep."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give the two options the sweep that follows them, or none."""
        given: list[str] = []
        rest = iter(args)
        for arg in rest:
            if arg in ("--resume", "--rerun-failed"):
                named = next(rest, "")
                given.append(f"{arg}={'' if named.startswith('-') else named}")
                given += [named] if named.startswith("-") else []
            else:
                given.append(arg)
        return list(super().parse_args(ctx, given))


sweep_app = typer.Typer(cls=_Sweep, invoke_without_command=True)
app.add_typer(sweep_app, name="sweep")


@sweep_app.callback()
def sweep(  # noqa: PLR0913, PLR0917  # a command's options are its arguments
    ctx: typer.Context,
    resume: Annotated[
        str | None,
        typer.Option(metavar="[SWEEP]", help="Go on with a sweep that was stopped or killed; default the last."),
    ] = None,
    rerun_failed: Annotated[
        str | None, typer.Option(metavar="[SWEEP]", help="Run the failed trials of a sweep again; default the last.")
    ] = None,
    executor: Annotated[
        Executor | None, typer.Option(help="engine: warm processes. cli: `dvc exp run --temp`, a process a trial.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print an event of JSON a line.")] = False,
    lines: Annotated[bool, typer.Option("--lines", help="Print plain lines, no table.")] = False,
    profile: Annotated[bool, typer.Option("--profile", help="Say where each millisecond went.")] = False,
    no_mlflow: Annotated[
        bool, typer.Option("--no-mlflow", help="Publish nothing; `trialtree track --all` does.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be run, and how long it takes; run nothing.")
    ] = False,
    queue: Annotated[
        bool, typer.Option("--queue", help="Put the trials into DVC's queue, by `dvc exp run --queue`; run nothing.")
    ] = False,
) -> None:
    """Run the trials of params.yaml's sweep section, each a DVC experiment."""
    if ctx.invoked_subcommand is not None:
        return
    repository.enter()
    if dry_run or queue:
        from trialtree.sweep import expanding

        (expanding.show if dry_run else expanding.queue)()
        return
    from trialtree.sweep import running

    kind: Literal["json", "lines", "auto"] = "json" if as_json else "lines" if lines else "auto"
    options = running.Options(executor.value if executor else None, kind, profile, not no_mlflow)
    if resume is not None:
        status = running.resume(resume or None, options)
    elif rerun_failed is not None:
        status = running.resume(rerun_failed or None, options, failed=True)
    else:
        status = running.new(options)
    raise typer.Exit(status)


@sweep_app.command("show")
def show_sweep(
    sweep: Annotated[str | None, typer.Argument(help="Its id, or the beginning; default the last.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the pictures; default the sweep's own.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and draw nothing.")] = False,
) -> None:
    """Tell what came of a sweep, trial by trial, and draw it as PNG and HTML."""
    target = out and out.absolute()
    repository.enter()
    from trialtree.sweep import history

    history.show(sweep, out=target, as_json=as_json)


@app.command()
def sweeps(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the sweeps that were run here."""
    repository.enter()
    from trialtree.sweep import history

    history.sweeps(as_json=as_json)


@app.command()
def best(  # noqa: PLR0913, PLR0917  # a command's options are its arguments
    sweep: Annotated[str | None, typer.Argument(help="Its id, or the beginning; default the last.")] = None,
    trial: Annotated[int | None, typer.Option(min=0, help="Another trial than the best, by its number.")] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Bring it into the workspace, as `dvc exp apply` does.")
    ] = False,
    branch: Annotated[
        str | None, typer.Option(metavar="NAME", help="Make a branch of it, as `dvc exp branch`.")
    ] = None,
    register: Annotated[bool, typer.Option("--register", help="Register its model, if its gates hold.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the best trial of a sweep and why it is, and take it into the workspace, a branch or the registry."""
    repository.enter()
    from trialtree.sweep import best as choosing

    asked = choosing.Asked(sweep, trial, apply, branch, register, as_json)
    for line in choosing.best(asked):
        print(line, flush=True)


queue_app = typer.Typer(help="DVC's own queue, which `dvc exp run --queue` fills.", no_args_is_help=True)
app.add_typer(queue_app, name="queue")


@queue_app.callback()
def _queue() -> None:
    pass


@queue_app.command("run")
def run_queue(
    jobs: Annotated[int | None, typer.Option("-j", "--jobs", min=1, help="Experiments at once; default cores.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print an event of JSON a line.")] = False,
    lines: Annotated[bool, typer.Option("--lines", help="Print plain lines.")] = False,
) -> None:
    """Run what is in DVC's queue, as `dvc queue start` does, in warm processes, until it is empty."""
    repository.enter()
    from trialtree.queue import running

    raise typer.Exit(running.run(jobs, "json" if as_json else "lines" if lines else "auto"))


@app.command()
def report(  # noqa: PLR0913, PLR0917  # a command's options are its arguments
    heads: Annotated[
        list[str] | None,
        typer.Argument(
            help="The trial to judge: a branch, commit, tag or DVC experiment; default HEAD. Several: a table."
        ),
    ] = None,
    base: Annotated[str, typer.Option("--base", "--against", help="What it is compared with.")] = "main",
    out: Annotated[Path | None, typer.Option(help="A .md or .html file, or a folder for both and pictures.")] = None,
    pull: Annotated[bool, typer.Option("--pull", help="Pull data and models that are not here.")] = False,
    rescore: Annotated[bool, typer.Option("--rescore", help="Score base's model on head's test rows.")] = False,
    pictures: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Where those who read the .md file find the pictures.")
    ] = None,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Time models stored as pickles, which runs the code in them.")
    ] = False,
) -> None:
    """Tell in one page what a trial changed, whether its gain is real, and what it costs."""
    target = out and out.absolute()
    repository.enter()
    from trialtree.review import against, finding
    from trialtree.review import report as reporting

    options = finding.Options(pull, rescore, pickles=allow_pickle)
    if heads and len(heads) > 1:
        lines = against.report(heads, base, target, options)
    else:
        lines = reporting.report(heads[0] if heads else "HEAD", base, target, options, pictures)
    for line in lines:
        print(line)


@app.command()
def gate(
    head: Annotated[str, typer.Argument(help="The trial to judge.")] = "HEAD",
    base: Annotated[str, typer.Option(help="What it must not fall behind.")] = "main",
    pull: Annotated[bool, typer.Option("--pull", help="Pull data and models that are not here.")] = False,
    no_base: Annotated[bool, typer.Option("--no-base", help="Judge it alone.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Hold a trial against params.yaml's review section; status 1 if it fails."""
    repository.enter()
    from trialtree.review import gate as gates

    checks = gates.gate(head, None if no_base else base, pull=pull)
    if as_json:
        print(json.dumps([vars(check) for check in checks], indent=2, ensure_ascii=False))
    else:
        for check in checks:
            print(check)
    if not all(check.holds for check in checks):
        raise typer.Exit(1)


@app.command(hidden=True)
def merge_file(base: Path, ours: Path, theirs: Path, path: str) -> None:
    """Merge a file that every trial changes; Git calls this."""
    repository.enter()
    from trialtree.branches import merging

    done, said = merging.merge_file(base, ours, theirs, path)
    for line in said:
        print(line, file=sys.stderr)
    raise typer.Exit(0 if done else 1)


def main() -> None:
    """Run the command line; what a person can mend is one line and status 1."""
    repository.run(app)


if __name__ == "__main__":
    main()
