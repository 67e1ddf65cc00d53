"""Which columns the fetched table will have, where that is quick to know without running fetch."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages import bundled, fetch, remotes, sources, tables

_LOCK = Path("dvc.lock")
_QUICK = 4_000_000  # bytes of CSV that are looked through in about half a second


def columns(p: fetch.FetchParams, section: Any) -> list[str] | None:
    """Return the names of the columns, or None where they are not quick to know; `section` is fetch's as it stands.

    Raises:
        UserError: there is no such file, or it is not what it must be.
    """
    if p.bundled is not None:
        names = bundled.names(p.bundled)
        return [name for name in p.keep or (*names, *p.derive) if name not in p.drop]
    items = sources.items_of(p.source)
    if not any(map(remotes.is_remote, items)):
        paths = [path for path in map(str, items) if not _is_to_be_pulled(path)]
        files = [file.path for path in paths for file in sources.expanded(path)]
        if len(paths) == len(items) and sum(file.stat().st_size for file in files) <= _QUICK:
            return [column.name for column in fetch.columns(p)]
    return _of_last_run(section)


def _is_to_be_pulled(path: str) -> bool:
    """Say whether a table is not here and `dvc pull` brings it."""
    name = Path(sources.relative(path))
    return not name.exists() and any(Path(f"{each}.dvc").is_file() for each in (name, *name.parents) if each.name)


def _of_last_run(section: Any) -> list[str] | None:
    """Return the columns of data/raw.parquet, if it was made with this very section by dvc.lock."""
    try:
        stage = YAML(typ="safe", pure=True).load(_LOCK.read_text(encoding="utf-8"))["stages"]["fetch"]
        size = next(out["size"] for out in stage["outs"] if out["path"] == str(tables.RAW))
        if stage["params"]["params.yaml"]["fetch"] != section or tables.RAW.stat().st_size != size:
            return None
        return [column.name for column in tables.raw_columns() if column.role != "row"]
    except (OSError, UnicodeDecodeError, YAMLError, LookupError, TypeError, StopIteration, tables.DataError):
        return None
