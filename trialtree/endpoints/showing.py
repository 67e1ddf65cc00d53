"""Tell of endpoints: all in a table, one in detail, and what one printed."""

import shutil
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from trialtree.endpoints.place import DamagedError, Place, places, there
from trialtree.serving.status import label, patience

_MEGABYTE = 1e6
_STYLES = {"ready": "green", "starting": "yellow", "stopping": "yellow"}


def listed() -> list[dict[str, Any]]:
    """Return what there is to say of each endpoint."""
    return [told(place) for place in places()]


def told(place: Place) -> dict[str, Any]:
    """Return what there is to say of an endpoint; state is `stopped` where no process lives, or `damaged`."""
    now, pid = place.status(), place.pid()
    mine = pid is not None and now.get("pid") == pid
    state, error = now["state"] if mine else "starting" if pid is not None else "stopped", now.get("error")
    described = None
    try:
        described = place.described()
    except DamagedError as damage:
        state, error = "damaged", {"time": None, "line": str(damage)}
    return {
        "name": place.name,
        "state": state,
        "repository": described.top if described else None,
        "asked": described.options.model if described else None,
        "address": now.get("address"),
        "pid": pid,
        "started": now.get("started") if mine else None,
        "generation": now.get("generation", 0),
        "models": now.get("models", []),
        "workers": [_with_memory(worker) for worker in now.get("workers", [])] if mine else [],
        "requests": _requests(place),
        "error": error,
        "log": str(place.log),
    }


def status(name: str) -> dict[str, Any]:
    """Return what there is to say of one.

    Raises:
        EndpointError: it is not there.
    """
    return told(there(name))


def _with_memory(worker: dict[str, Any]) -> dict[str, Any]:
    import psutil

    memory = None
    with suppress(psutil.Error, TypeError):
        memory = psutil.Process(worker["pid"]).memory_info().rss
    return {**worker, "memory": memory}


def _requests(place: Place) -> dict[str, Any]:
    """Return what the workers counted."""
    from trialtree.serving import metrics

    with suppress(OSError, ValueError):
        return metrics.summary(str(place.metrics))
    return {}


def show_list(found: list[dict[str, Any]]) -> None:
    """Print endpoints as a table."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("endpoint", "state", "models", "address", "workers", "requests", "since"):
        table.add_column(title, overflow="fold")
    for each in found:
        table.add_row(
            each["name"], _state_and_why(each), ", ".join(map(label, each["models"])) or each["asked"] or "",
            each["address"] or "", str(len(each["workers"])), str(each["requests"].get("requests", "")),
            _ago(each["started"]),
        )  # fmt: skip
    _console().print(table)


def show(found: dict[str, Any]) -> None:
    """Print one endpoint: where it is, its models, workers, requests, and what went wrong last."""
    from rich.markup import escape
    from rich.table import Table

    console = _console()
    console.print(f"[bold]{found['name']}[/bold]  {_state(found['state'])}  {found['address'] or ''}")
    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_column(style="dim")
    facts.add_column(overflow="fold")
    facts.add_row("repository", found["repository"] or "?")
    if found["started"]:
        facts.add_row("since", _ago(found["started"]))
        facts.add_row("documentation", f"{found['address']}/docs")
    facts.add_row("requests", _counted(found["requests"]))
    facts.add_row("log", found["log"])
    if found["error"]:
        when = f" ({_ago(found['error']['time'])})" if found["error"]["time"] else ""
        facts.add_row("[red]last error[/red]", escape(found["error"]["line"] + when))
    console.print(facts)
    console.print()
    console.print(_models(found["models"]))
    if found["workers"]:
        console.print()
        console.print(_workers(found["workers"]))


def _models(found: list[dict[str, Any]]) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("model", "alias", "requests", "digest", "since"):
        table.add_column(title)
    for each in found:
        part = "shadow" if each["shadow"] else f"{each['share']:.0%}"
        name = f"{each['name']}/{each['version']}"
        table.add_row(name, each["alias"] or "", part, each["digest"][:12], _ago(each.get("since")))
    return table


def _workers(found: list[dict[str, Any]]) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("worker", "state", "memory", "restarts", "since"):
        table.add_column(title, justify="right" if title in ("memory", "restarts") else "left")
    for each in found:
        memory = f"{each['memory'] / _MEGABYTE:.0f} MB" if each["memory"] else ""
        state = _state("starting" if each["state"] == "told" else each["state"])
        table.add_row(str(each["pid"] or ""), state, memory, str(each["restarts"]), _ago(each["started"]))
    return table


def _counted(found: dict[str, Any]) -> str:
    if not found.get("requests"):
        return "none yet"
    quantiles = [f"{name} {1000 * found[name]:.3g} ms" for name in ("p50", "p99") if found.get(name) is not None]
    counts = f"{found['requests']:,} ({found['errors']:,} failed, {found['refused']:,} refused), {found['rows']:,} rows"
    return ", ".join([counts, *quantiles])


def _state(state: str) -> str:
    return f"[{_STYLES.get(state, 'red')}]{state}[/]"


def _state_and_why(found: dict[str, Any]) -> str:
    """Return the state of an endpoint, and what is wrong where it does not answer though it should."""
    from rich.markup import escape

    why = found["error"] if found["state"] in ("failing", "damaged") else None
    return _state(found["state"]) + (escape(f": {why['line']}") if why else "")


def _ago(moment: str | None) -> str:
    """Return how long ago a moment was."""
    if not moment:
        return ""
    seconds = (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{max(0.0, seconds):.0f} s ago"


def _console() -> Any:
    from rich.console import Console

    wide = None if sys.stdout.isatty() else 200  # columns, so that a pipe gets whole lines
    return Console(width=wide, highlight=False, soft_wrap=not sys.stdout.isatty())


def logs(name: str, follow: bool) -> None:
    """Print what an endpoint's processes printed; go on until it is deleted, or Ctrl-C.

    Raises:
        EndpointError: it is not there.
    """
    place = there(name)
    with place.log.open(errors="replace") as file:
        shutil.copyfileobj(file, sys.stdout)
        sys.stdout.flush()
        while follow and place.folder.exists():
            patience()()
            if place.log.exists() and place.log.stat().st_size < file.tell():
                file.seek(0)  # it was put aside
            shutil.copyfileobj(file, sys.stdout)
            sys.stdout.flush()
