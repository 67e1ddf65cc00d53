"""The commands around a registered model that is served: parses, calls, prints; no logic."""

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from trialtree import repository

app = typer.Typer()

# What `serve` and `endpoint create` take alike.
_Host = Annotated[str, typer.Option(help="The address of this machine to serve on.")]
_Workers = Annotated[int, typer.Option(min=1, max=256, help="Processes that answer.")]
_Traffic = Annotated[
    str | None, typer.Option(metavar="SHARES", help="Percent by alias or version: champion=90,challenger=10.")
]
_Shadow = Annotated[
    str | None, typer.Option(metavar="ALIAS", help="A model that gets copies; differences are counted.")
]
_Keys = Annotated[Path | None, typer.Option(help="A file of keys that clients must show; see endpoint key.")]
_Anonymous = Annotated[bool, typer.Option("--anonymous", help="Ask nobody for a key, on any address.")]
_TlsCert = Annotated[Path | None, typer.Option(metavar="FILE", help="Certificates, as PEM: serve https.")]
_TlsKey = Annotated[Path | None, typer.Option(metavar="FILE", help="The key to that, as PEM.")]
_LogRequests = Annotated[
    float, typer.Option(metavar="SHARE", min=0, max=1, help="Share of the requests to keep as Parquet.")
]
_LogFolder = Annotated[Path | None, typer.Option(metavar="DIR", help="Where to keep them.")]
_MaxBody = Annotated[float, typer.Option(metavar="MB", min=0.001, max=10_000, help="The largest body.")]
_MaxRows = Annotated[int, typer.Option(min=1, help="The most rows of a request.")]
_Timeout = Annotated[float, typer.Option(metavar="SECONDS", min=0.1, help="For a body to come, and for its answer.")]
_Concurrency = Annotated[int, typer.Option(min=1, help="Requests of a worker at once; more get 429.")]
_Unknown = Annotated[bool, typer.Option("--unknown-categories", help="Take categories that training never saw.")]
_Pickle = Annotated[bool, typer.Option("--allow-pickle", help="Load pickles, which runs the code in them.")]
_NoAccessLog = Annotated[bool, typer.Option("--no-access-log", help="No line for each request.")]


@app.command("serve")
def serve(  # noqa: PLR0913, PLR0917  # a command's options are its arguments
    model: Annotated[str, typer.Argument(help="NAME, NAME@ALIAS or NAME/VERSION; a name alone: its champion.")],
    host: _Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 5001,
    workers: _Workers = 1,
    traffic: _Traffic = None,
    shadow: _Shadow = None,
    keys: _Keys = None,
    anonymous: _Anonymous = False,
    tls_cert: _TlsCert = None,
    tls_key: _TlsKey = None,
    log_requests: _LogRequests = 0.0,
    log_folder: _LogFolder = None,
    max_body: _MaxBody = 16.0,
    max_rows: _MaxRows = 100_000,
    timeout: _Timeout = 30.0,
    concurrency: _Concurrency = 64,
    unknown_categories: _Unknown = False,
    allow_pickle: _Pickle = False,
    no_access_log: _NoAccessLog = False,
) -> None:
    """Serve a registered model by HTTP until Ctrl-C; an alias that moves is taken up without a pause."""
    given, here = {**locals(), "access_log": not no_access_log}, Path.cwd()
    repository.enter()
    from trialtree.serving import serve as serving

    serving.serve(serving.options(given, here), _say)


endpoint_app = typer.Typer(help="Servers of this machine that outlive the shell.", no_args_is_help=True)
app.add_typer(endpoint_app, name="endpoint")


@endpoint_app.command("create")
def create_endpoint(  # noqa: PLR0913, PLR0917  # a command's options are its arguments
    name: Annotated[str, typer.Argument(help="Of the endpoint.")],
    model: Annotated[str, typer.Option(help="NAME, NAME@ALIAS or NAME/VERSION.")],
    host: _Host = "127.0.0.1",
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Default: 5001, or a free one; it stays.")] = None,
    workers: _Workers = 1,
    traffic: _Traffic = None,
    shadow: _Shadow = None,
    keys: _Keys = None,
    anonymous: _Anonymous = False,
    tls_cert: _TlsCert = None,
    tls_key: _TlsKey = None,
    log_requests: _LogRequests = 0.0,
    log_folder: _LogFolder = None,
    max_body: _MaxBody = 16.0,
    max_rows: _MaxRows = 100_000,
    timeout: _Timeout = 30.0,
    concurrency: _Concurrency = 64,
    unknown_categories: _Unknown = False,
    allow_pickle: _Pickle = False,
    no_access_log: _NoAccessLog = False,
) -> None:
    """Start an endpoint in the background, bring it to these options, or start it again."""
    given, here = {**locals(), "access_log": not no_access_log}, Path.cwd()
    top = repository.enter()
    from trialtree.endpoints import creating
    from trialtree.serving import serve as serving

    creating.create(name, serving.options({**given, "port": port or 0}, here), port, top, _say)


@endpoint_app.command("list")
def list_endpoints(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the endpoints of this machine."""
    repository.enter()
    from trialtree.endpoints import showing

    found = showing.listed()
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    elif found:
        showing.show_list(found)
    else:
        print("no endpoint yet: `trialtree endpoint create NAME --model MODEL` makes one", file=sys.stderr)


@endpoint_app.command("status")
def endpoint_status(
    name: Annotated[str, typer.Argument(help="Of the endpoint.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell how an endpoint is: its models, workers, requests, and what went wrong last."""
    repository.enter()
    from trialtree.endpoints import showing

    found = showing.status(name)
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        showing.show(found)


@endpoint_app.command("logs")
def endpoint_logs(
    name: Annotated[str, typer.Argument(help="Of the endpoint.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
) -> None:
    """Print what an endpoint's processes print."""
    repository.enter()
    from trialtree.endpoints import showing

    try:
        showing.logs(name, follow)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@endpoint_app.command("traffic")
def endpoint_traffic(
    name: Annotated[str, typer.Argument(help="Of the endpoint.")],
    shares: Annotated[
        str | None, typer.Argument(metavar="[SHARES]", help="Percent by alias or version: champion=90,challenger=10.")
    ] = None,
    shadow: _Shadow = None,
    no_shadow: Annotated[bool, typer.Option("--no-shadow", help="Send no copies.")] = False,
) -> None:
    """Share an endpoint's requests among models, without a pause."""
    repository.enter()
    from trialtree.endpoints import creating

    if (shadow and no_shadow) or not (shares or shadow or no_shadow):
        raise typer.BadParameter("give shares, or one of --shadow and --no-shadow, or both kinds")
    creating.share(name, shares, shadow, no_shadow, _say)


@endpoint_app.command("delete")
def delete_endpoint(
    name: Annotated[str, typer.Argument(help="Of the endpoint.")],
    force: Annotated[bool, typer.Option("--force", help="Do not wait for requests.")] = False,
) -> None:
    """End an endpoint, and leave nothing of it."""
    repository.enter()
    from trialtree.endpoints import stopping

    print(stopping.delete(name, force=force))


@endpoint_app.command("key")
def endpoint_key(
    name: Annotated[str, typer.Argument(help="Whose key it is.")],
    file: Annotated[Path, typer.Option(help="The file that gets its hash.")] = Path("keys.txt"),
) -> None:
    """Make a key for a client: print it once, and add its hash to a file for --keys."""
    target = file.absolute()
    repository.enter()
    from trialtree.serving import keys

    print(keys.make(name, target))


@app.command()
def package(
    model: Annotated[str, typer.Argument(metavar="NAME[@ALIAS|/VERSION]", help="A registered model.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder to write.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a package that is there.")] = False,
) -> None:
    """Write a registered model as a folder that a container is built from, without this repository."""
    here = Path.cwd()
    repository.enter()
    from trialtree.packaging import writing
    from trialtree.serving.registry import asking, resolving

    place = here / out
    resolved = resolving.resolver().resolve(asking.parse(model))
    written = writing.write(resolved, place, force)
    print(f"{out}: {resolved.name}/{resolved.version} and {written.packages} packages; README.md says how it is run")
    print(f"docker build -t {written.image} {shlex.quote(str(out))}")


@app.command()
def predict(  # noqa: PLR0913, PLR0917  # a command's options are its arguments
    model: Annotated[str, typer.Argument(help="NAME, NAME@alias or NAME/version of a registered model.")],
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            help="CSV, Parquet or Arrow files, folders or globs of them; https://…, s3://…, "
            "dvc:REPOSITORY#PATH@REVISION.",
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="FILE.parquet, .csv or .arrow for one data set; a folder for an output per input.")
    ],
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Add p_LABEL for each label.")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Add e_COLUMN, what each column contributed, and e_base.")
    ] = False,
    keep: Annotated[
        str | None,
        typer.Option(help="Columns to carry along, with commas between them; default: all that the model ignores."),
    ] = None,
    max_errors: Annotated[int, typer.Option(min=0, help="Bad rows to leave out before it stops.")] = 0,
    chunk: Annotated[int, typer.Option(min=1, max=10_000_000, help="Rows that are read at a time.")] = 32_768,
    jobs: Annotated[int | None, typer.Option(min=1, max=1024, help="Threads that score; default: all cores.")] = None,
    form: Annotated[
        Literal["parquet", "csv", "arrow"] | None,
        typer.Option("--format", help="Of the outputs in a folder; default: each input's own."),
    ] = None,
    unknown_categories: Annotated[
        bool, typer.Option("--unknown-categories", help="Take categories that training did not see.")
    ] = False,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Load a model that is a pickle, which runs its code.")
    ] = False,
    endpoint: Annotated[str | None, typer.Option(help="Address of an S3 server that is not Amazon's.")] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin anew, where a run that was stopped could go on.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Predict the rows of tables of any size by a registered model; a run that was stopped goes on where it was."""
    here = Path.cwd()
    repository.enter()
    from trialtree.predicting import lean

    lean.begin()  # before the others import NumPy
    from trialtree.predicting import running
    from trialtree.predicting.asked import Asked, StoppedError

    columns = None if keep is None else tuple(name for name in keep.split(",") if name)
    asked = Asked(
        model, tuple(inputs), out, here, probabilities, explain, columns, max_errors, chunk, jobs, form,
        unknown_categories, allow_pickle, endpoint, fresh, quiet,
    )  # fmt: skip
    try:
        said = running.run(asked, lambda line: None if quiet else print(line, file=sys.stderr, flush=True))
    except StoppedError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(130) from None
    if not quiet:
        print(said)


@app.command()
def call(  # noqa: PLR0913, PLR0917  # a command's options are its arguments
    url: Annotated[str, typer.Argument(help="http(s)://HOST:PORT, or the name of an endpoint of this machine.")],
    table: Annotated[
        str,
        typer.Argument(metavar="INPUT", help="A CSV, Parquet or Arrow file, - for standard input, or REV:PATH."),
    ],
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Ask for one for each label.")] = False,
    compare: Annotated[
        str | None, typer.Option(metavar="TARGET", help="Print the metrics against this column.")
    ] = None,
    key_file: Annotated[
        Path | None, typer.Option("--key-file", help="A file that holds the key; default $TRIALTREE_KEY.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write all rows to this .csv or .parquet file.")] = None,
    rows: Annotated[int, typer.Option(min=0, help="Rows to print.")] = 10,
    batch: Annotated[int, typer.Option(min=1, help="Rows of a request.")] = 1000,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for an answer.")] = 30.0,
    ca: Annotated[Path | None, typer.Option(help="A file of certificates to trust, instead of the system's.")] = None,
) -> None:
    """Send a table to an endpoint, and print what it predicts."""
    here = Path.cwd()
    repository.enter()
    from trialtree.calling import asked, telling

    key_file, out, ca = (path and here / path for path in (key_file, out, ca))
    wanted = asked.Asked(url, table, here, probabilities, compare, key_file, out, rows, batch, timeout, ca)
    telling.call(wanted, lambda line: print(line, file=sys.stderr))


def _say(line: str) -> None:
    print(line, flush=True)
