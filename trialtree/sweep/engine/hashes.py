"""What DVC knows a file or folder by."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

_PIECE = 1 << 20  # bytes


@dataclass(frozen=True)
class Hash:
    """What dvc.lock says of a file or folder."""

    md5: str  # with .dir behind it for a folder
    size: int
    nfiles: int | None = None  # of a folder

    @property
    def is_folder(self) -> bool:
        """Say whether it is of a folder."""
        return self.md5.endswith(".dir")


def md5_of(path: str | Path) -> tuple[str, int]:
    """Return the MD5 of a file and its size in bytes."""
    digest, size = hashlib.md5(usedforsecurity=False), 0
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123  # of dozens of small files a trial
        while piece := file.read(_PIECE):
            digest.update(piece)
            size += len(piece)
    return digest.hexdigest(), size
