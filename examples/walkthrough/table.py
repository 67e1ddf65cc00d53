"""The California housing table, from where scikit-learn's fetch_california_housing gets it."""

import hashlib
import io
import tarfile
from pathlib import Path

from examples.walkthrough.machines import WalkError

ARCHIVE = "https://ndownloader.figshare.com/files/5976036"
SHA256 = "aaa5c9a6afe2225cc2aed2723682ae403280c4a3695a2ddda4ffb5d8215ea681"
MEMBER = "CaliforniaHousing/cal_housing.data"
_NEXT = "get cal_housing.data elsewhere, and name it: make walkthrough DATA=path/to/cal_housing.data"


def download(folder: Path, archive: str = ARCHIVE, sha256: str = SHA256) -> Path:
    """Return the table, taken out of its archive in a folder.

    Raises:
        WalkError: there is no network, or what came is another archive.
    """
    import requests

    print(f"fetching {archive}", flush=True)
    try:
        answer = requests.get(archive, timeout=30)
        answer.raise_for_status()
    except requests.RequestException as error:
        raise WalkError(f"{archive} cannot be fetched ({type(error).__name__}); {_NEXT}") from None
    if (got := hashlib.sha256(answer.content).hexdigest()) != sha256:
        raise WalkError(f"{archive} has the SHA-256 {got}, and not {sha256}; {_NEXT}")
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as packed:
        member = packed.extractfile(MEMBER)
        if member is None:
            raise WalkError(f"{archive} has no file {MEMBER}; {_NEXT}")
        place = folder / MEMBER
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(member.read())
    return place
