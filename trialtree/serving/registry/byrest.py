"""A registry that an MLflow server has, asked by its REST API without MLflow."""

import configparser
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trialtree.serving.registry.books import Held, Known
from trialtree.tracking.addresses import StoreError
from trialtree.tracking.stores import Store

if TYPE_CHECKING:
    import requests

_PATIENCE = (5, 30)  # seconds to connect, and to answer
_PAGE = 1000
_LOST = "RESOURCE_DOES_NOT_EXIST"
_OTHER = ("MLFLOW_TRACKING_AWS_SIGV4", "MLFLOW_TRACKING_AUTH", "MLFLOW_WORKSPACE")  # ways in that MLflow alone knows
_REFUSED = {
    401: "the server asks for a user and a password, and refuses these (401); "
    "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
    403: "the user has no permission for this (403)",
}


def usable() -> bool:
    """Say whether the environment asks for nothing that is not done here."""
    return not any(os.environ.get(name) for name in _OTHER)


class Rest:
    """A registry that a server has."""

    pace = 5.0

    def __init__(self, store: Store) -> None:
        self.shown = store.shown
        self._root = f"{store.uri.rstrip('/')}/api/2.0/mlflow"
        self._session: requests.Session | None = None

    def names(self) -> list[str]:
        """Return the names of all models."""
        said = self._get("registered-models/search", max_results=str(_PAGE)) or {}
        return sorted(model["name"] for model in said.get("registered_models", []))

    def known(self, name: str) -> Known | None:
        """Return what there is of a model."""
        said = self._get("registered-models/get", name=name)
        if said is None:
            return None
        aliases = said["registered_model"].get("aliases", [])
        return Known({each["alias"]: str(each["version"]) for each in aliases}, self._versions(name))

    def held(self, name: str, number: str) -> Held:
        """Return a version.

        Raises:
            StoreError: it is gone meanwhile, or the server is away.
        """
        said = self._get("model-versions/get", name=name, version=number)
        if said is None:
            raise StoreError(f"MLflow at {self.shown}: {name}/{number} was deleted meanwhile")
        tags = said["model_version"].get("tags", [])
        return Held(name, number, {tag["key"]: tag.get("value", "") for tag in tags})

    def _versions(self, name: str) -> list[str]:
        """Return the numbers of all versions, rising."""
        found: list[int] = []
        token = ""
        while True:
            page = {"page_token": token} if token else {}
            said = self._get("model-versions/search", filter=f"name='{name}'", max_results=str(_PAGE), **page) or {}
            found += [int(version["version"]) for version in said.get("model_versions", [])]
            token = said.get("next_page_token", "")
            if not token:
                return [str(number) for number in sorted(found)]

    def _get(self, path: str, **asked: str) -> Any:
        """Return an answer; None where what is asked for is not there.

        Raises:
            StoreError: the server is away or refuses.
        """
        import requests

        try:
            self._session = self._session or _session()
            answer = self._session.get(f"{self._root}/{path}", params=asked, timeout=_PATIENCE)
            said = answer.json() if answer.headers.get("Content-Type", "").startswith("application/json") else None
        except requests.RequestException as error:
            raise self._fault(f"cannot be reached ({type(error).__name__})") from None
        if answer.status_code == 200 and isinstance(said, dict):
            return said
        if isinstance(said, dict) and said.get("error_code") == _LOST:
            return None
        if answer.status_code in _REFUSED:
            raise self._fault(_REFUSED[answer.status_code])
        if answer.status_code >= 500:
            raise self._fault(f"the server fails ({answer.status_code}); see its log")
        raise self._fault("what answers there is no MLflow server")

    def _fault(self, text: str) -> StoreError:
        return StoreError(f"MLflow at {self.shown}: {text}")


def _session() -> "requests.Session":
    """Return a session that says who asks, as MLflow does."""
    import requests

    session = requests.Session()
    user, password = (_credential(name) for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"))
    if user and password:
        session.auth = (user, password)
    elif token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        session.headers["Authorization"] = f"Bearer {token}"
    if os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1"):
        session.verify = False
    elif authority := os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH"):
        session.verify = authority
    session.cert = os.environ.get("MLFLOW_TRACKING_CLIENT_CERT_PATH")
    return session


def _credential(name: str) -> str | None:
    """Return a user or password from the environment, or from MLflow's file."""
    file = configparser.ConfigParser(interpolation=None)
    file.read(Path("~/.mlflow/credentials").expanduser())
    return os.environ.get(name) or file.get("mlflow", name.lower(), fallback=None)
