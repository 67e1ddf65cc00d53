"""Download a table of OpenML as Parquet: `openml:<id>`.

Its description (`/api/v1/json/data/<id>`) says name, version and where the
Parquet file is. The MD5 in it is that of the ARFF file that was uploaded: it
tells versions apart, and says nothing of the Parquet file's bytes.
"""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages import downloads, masking
from stages.content import Facts, File
from stages.tables import DataError

SCHEME = "openml:"
_SERVER = "https://www.openml.org"
_ADVICE = "see that the number in fetch.source is right"


def fault(name: str) -> str | None:
    """Return what is wrong with a name as a source."""
    return None if re.fullmatch(r"openml:[1-9]\d*", name, re.ASCII) else "must be openml: and the number of a data set"


def server() -> str:
    """Return the address of OpenML, or of the mirror that OPENML_SERVER names."""
    return os.environ.get("OPENML_SERVER", _SERVER).rstrip("/")


def download(name: str, folder: Path, known: Sequence[Facts] | None = None) -> list[File] | None:
    """Download a table into a folder; None where it is the `known` one.

    Raises:
        DataError: there is no such data set, it has no Parquet file, or the server cannot be reached.
    """
    described = _described(name)
    facts = {"name": str(described.get("name")), "version": str(described.get("version"))}
    if md5 := described.get("md5_checksum"):
        facts["md5_of_arff"] = str(md5)
    url = str(described.get("parquet_url") or described.get("minio_url") or "")
    if not url.startswith(downloads.SCHEMES) or downloads.fault(url):
        raise DataError(f"{name}: OpenML has no Parquet file of it; download it and `trialtree data add FILE`")
    if known is not None and any(each.get(key) != value for each in known for key, value in facts.items()):
        known = None
    found = downloads.download(url, folder, known)
    if found is None:
        return None
    with found[0].path.open("rb") as file:
        magic = file.read(4)
    if magic != b"PAR1":
        raise DataError(f"{name}: what {masking.masked(url)} holds is not Parquet; OpenML may be mending it: try later")
    return [File(name, file.path, {**facts, "url": masking.masked(url), **file.facts}) for file in found]


def _described(name: str) -> Mapping[str, Any]:
    """Return a data set's description."""
    import requests

    url = f"{server()}/api/v1/json/data/{name.removeprefix(SCHEME)}"
    shown = masking.masked(url)
    try:
        answer = requests.get(url, timeout=(10, 60), headers={"Accept": "application/json"})
        content = answer.json()
        if answer.status_code == 412:  # OpenML's status for all that it has not
            said = content.get("error", {}).get("message", "no more")
            raise DataError(f"{name}: OpenML says: {str(said)[:200]}; {_ADVICE}")
        answer.raise_for_status()
        return dict(content["data_set_description"])
    except requests.JSONDecodeError:
        raise DataError(
            f"{name}: {shown} answers {answer.status_code}, and not as OpenML does; see OPENML_SERVER"
        ) from None
    except requests.HTTPError:
        raise DataError(
            f"{name}: {shown} answers {answer.status_code} {answer.reason}; {_ADVICE}, or try later"
        ) from None
    except requests.RequestException as error:
        why = downloads.reason(error)
        raise DataError(
            f"{name}: {shown} cannot be reached: {why}; see that the network and the proxy are right"
        ) from None
    except (KeyError, TypeError, ValueError, AttributeError):
        raise DataError(f"{name}: {shown} does not answer as OpenML does; see OPENML_SERVER") from None
