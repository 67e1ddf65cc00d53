"""Write the params of a trial that is started: params.yaml, and dvc.yaml where the source is another one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stages import params, sources
from stages.errors import UserError
from stages.files import replacing
from trialtree import data, editing
from trialtree.branches import committing


class FaultsError(UserError):
    """Params that cannot be run."""


def write(content: bytes | None, sets: Sequence[str]) -> None:
    """Write params.yaml, and let dvc.yaml follow its source."""
    before = params.load().get("fetch")
    if content is not None and content != params.PATH.read_bytes():
        with replacing(params.PATH) as partial:
            partial.write_bytes(content)
    _apply(sets)
    fetch = params.load().get("fetch")
    if fetch != before and isinstance(fetch, dict):
        dvc_yaml = editing.load(sources.DVC_YAML)
        data.depend(dvc_yaml, _tables(fetch.get("source")))
        editing.save(sources.DVC_YAML, editing.text(dvc_yaml))


def _tables(source: Any) -> list[str]:
    """Return the tables of data/source/ that fetch.source names.

    Raises:
        FaultsError: a file is not there.
    """
    named = [name for name in (source if isinstance(source, list) else [source]) if isinstance(name, str)]
    tables = [name for name in named if sources.is_tracked(name)]
    for name in tables:
        if not committing.under_dvc(name):
            mend = f"put it there first: `trialtree data add {Path(name).name}`, and commit"
            raise FaultsError(f"{params.PATH}: fetch.source: {name} is not under DVC here; {mend}")
    for name in named:
        if name not in tables and ":" not in name and not Path(name).exists():
            raise FaultsError(f"{params.PATH}: fetch.source: there is no {name}")
    return tables


def _apply(sets: Sequence[str]) -> None:
    """Change params.yaml by DVC's own code for `dvc exp run -S`.

    Raises:
        FaultsError: one of them cannot be applied.
    """
    if not sets:
        return
    from dvc.exceptions import InvalidArgumentError
    from dvc.utils.cli_parse import to_path_overrides
    from dvc.utils.hydra import apply_overrides, get_hydra_sweeps

    try:
        by_file = to_path_overrides(sets)
        if other := next((path for path in by_file if path != str(params.PATH)), None):
            raise FaultsError(f"-S {other}: only keys of {params.PATH} can be set")
        if len(get_hydra_sweeps(by_file)) > 1:
            raise FaultsError("-S: one trial has one value for each key; `dvc exp run --queue` takes several")
        apply_overrides(str(params.PATH), by_file[str(params.PATH)])
    except InvalidArgumentError as error:
        said = str(error.__cause__ or error).strip().splitlines()
        raise FaultsError(f"-S: {' '.join(' '.join(said[:2]).split())}") from None
