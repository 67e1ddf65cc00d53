"""What MLFLOW_TRACKING_URI may hold: the address of a store."""

import re
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from stages.errors import UserError

SERVERS = ("http", "https")
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
DATABRICKS = ("databricks", "databricks-uc")  # whole addresses, or schemes
_PACKAGES = {"azureml": "azureml-mlflow"}  # that speak a scheme
_MUST = "http(s)://HOST:PORT, postgresql://USER@HOST/DATABASE or sqlite:///PATH"


class StoreError(UserError):
    """A store that cannot be spoken to now."""


def absolute(uri: str) -> str:
    """Return the address of a store so that it means the same in every folder.

    Raises:
        StoreError: it is none; the line has no password.
    """
    if uri in DATABRICKS:
        return uri
    if re.fullmatch(r"[\w.-]+:\d+(/.*)?", uri):
        raise _refused(f"{_MUST}, got {uri}; did you mean http://{uri}?")
    try:
        parts = urlsplit(uri)
        _ = parts.port, parts.hostname
    except ValueError:  # its text may hold a password
        raise _refused(f"{_MUST}; signs of a password are written as in addresses (%40 for @)") from None
    scheme = parts.scheme.partition("+")[0]
    if scheme in SERVERS and not parts.hostname:
        raise _refused(f"{_MUST}, got no host")
    if scheme == "sqlite":
        return _file(uri)
    if scheme in DATABASES and not uri.startswith(f"{parts.scheme}://"):
        raise _refused(f"{_MUST}, got {scheme}: without //")
    if scheme in ("", "file"):
        return uri if scheme else Path(uri).absolute().as_uri()
    _known(scheme, parts)
    return uri


def scheme(uri: str) -> str:
    """Return the scheme, without a driver."""
    return urlsplit(uri).scheme.partition("+")[0]


def _file(uri: str) -> str:
    """Return the address of an sqlite file with its whole path."""
    found = re.fullmatch(r"(sqlite(?:\+\w+)?:///)(?!:memory:)([^/?].*|/.+)", uri)
    if not found:
        raise _refused(f"sqlite:///PATH, a file that stays, got {uri}")
    return f"{found[1]}{Path(found[2]).absolute()}"


def _known(scheme: str, parts: SplitResult) -> None:
    """Refuse a scheme that nothing here speaks."""
    if scheme in (*SERVERS, *DATABASES, *DATABRICKS, "uc"):
        return
    if scheme in {point.name for point in entry_points(group="mlflow.tracking_store")}:
        return
    if package := _PACKAGES.get(scheme):
        raise StoreError(f"MLFLOW_TRACKING_URI: {scheme}:// needs the package {package}: `pip install {package}`")
    raise _refused(f"{_MUST}, or of a scheme whose MLflow plugin is installed, got {parts.scheme}://")


def _refused(must: str) -> StoreError:
    return StoreError(f"MLFLOW_TRACKING_URI: must be {must}")
