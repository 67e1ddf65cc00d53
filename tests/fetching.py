"""What the tests of sources share: fetch in a folder of its own, and what it said."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from stages import fetch, keeping, params
from stages.errors import UserError

CSV = ("a,b,label\n" + "".join(f"{i},{i * i % 7},{'xy'[i % 2]}\n" for i in range(2000))).encode()
PIN = hashlib.sha256(CSV).hexdigest()


def read(source: Any, sha256: str | None = PIN, **section: Any) -> list[dict[str, Any]]:
    """Fetch, and return what data.json says was read."""
    given = {"source": source, "sha256": sha256, **section}
    p = params.parse("fetch", {key: value for key, value in given.items() if value is not None}, fetch.FetchParams)
    _, entries = fetch.fetch(p)
    assert not list(Path("data").glob(".*.partial"))
    return [dict(entry) for entry in entries]


def line(source: Any, sha256: str | None = PIN, **section: Any) -> str:
    """Return the one line that fetch stops with; nothing half-made is left."""
    with pytest.raises(UserError) as caught:
        read(source, sha256, **section)
    assert "\n" not in str(caught.value)
    assert "planted" not in str(caught.value)
    assert not list(Path("data").glob(".*.partial"))
    return str(caught.value)


def pin_said(source: Any, **section: Any) -> str:
    """Return the hash that fetch says is to be pinned."""
    return line(source, None, **section).rpartition(" ")[2]


def kept() -> list[Path]:
    """Return the files that are kept of downloads."""
    return sorted(path for path in keeping.root().rglob("*") if path.is_file() and path.name != ".lock")
