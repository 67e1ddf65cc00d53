"""The small files of a trial in its run's artifacts."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from mlflow import MlflowClient


def there(client: "MlflowClient", run: Any) -> bool:
    """Say whether a run has files."""
    folder = local(run.info.artifact_uri)
    return folder.is_dir() if folder else bool(client.list_artifacts(run.info.run_id))


def upload(client: "MlflowClient", run: Any, files: Mapping[str, bytes]) -> None:
    """Put files into a run."""
    folder = local(run.info.artifact_uri)
    if folder is not None:
        _write(folder, files)
    elif files:
        with tempfile.TemporaryDirectory() as temporary:
            _write(Path(temporary), files)
            client.log_artifacts(run.info.run_id, temporary)


def write(address: str, files: Mapping[str, bytes]) -> None:
    """Put files into a folder of this machine, given by its address."""
    folder = local(address)
    assert folder is not None  # noqa: S101  # whoever asks has made sure
    _write(folder, files)


def local(address: str) -> Path | None:
    """Return the folder of artifacts that are on this machine; None for others."""
    parts = urlsplit(address)
    return Path(unquote(parts.path)) if parts.scheme == "file" and not parts.netloc else None


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    for below in dict.fromkeys(["", *(path.rpartition("/")[0] for path in files)]):
        (folder / below).mkdir(parents=True, exist_ok=True)
    for path, content in files.items():
        (folder / path).write_bytes(content)
