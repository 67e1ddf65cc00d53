"""Which runs of trials a store has, told quickly: of a thousand in less time than MLflow takes to be imported."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trialtree.tracking import artifacts, storage
from trialtree.tracking.stores import Store
from trialtree.tracking.survey import Place
from trialtree.tracking.trials import COMMITS, EXPERIMENT, KEY, NUMBER, REPOSITORY, SWEEP

if TYPE_CHECKING:
    from mlflow import MlflowClient

STATE = "trialtree.state"  # tag: what Git said of a trial when all of it was published
KIND = "trialtree.kind"  # tag of runs that are no trials: branch, sweep, stage
GROUP = "trialtree.group"  # tag of a parent: which trials are below it
PARENT = "mlflow.parentRunId"
MISSING = "trialtree.missing"  # tag: JSON, the outputs that whoever published a run did not have, with DVC's hashes
_TAGS = (MISSING, KEY, COMMITS, EXPERIMENT, STATE, KIND, GROUP, PARENT, REPOSITORY, SWEEP, NUMBER)
_FORM = 1  # of what is published: another one publishes all anew
_DATABASES = ("sqlite", "postgresql", "mysql")
_PAGE = 1000


def loaded(text: str | None) -> dict[str, str]:
    """Return what a tag of JSON holds; nothing where there is none, or it was cut off."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def state(place: Place, settings: storage.Settings) -> str:
    """Return a digest of all that Git and the settings say of a trial: equal, the run is as it is to be."""
    told = {name: value for name, value in vars(place).items() if value is not None or name not in ("sweep", "number")}
    said = [_FORM, told, settings.remote, settings.origin]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Known:
    """A run of a store, by its tags."""

    id: str
    name: str
    experiment_id: str
    tags: Mapping[str, str]
    whole: bool  # whether its files are there, as far as can be told without asking a server

    @property
    def key(self) -> str | None:
        """The content key of its trial."""
        return self.tags.get(KEY)

    @property
    def missing(self) -> dict[str, str]:
        """The outputs that it lacks, with DVC's hashes."""
        return loaded(self.tags.get(MISSING))

    @property
    def commits(self) -> list[str]:
        """The commits of its trial."""
        return self.tags.get(COMMITS, "").split()

    @property
    def experiment(self) -> str | None:
        """The name of the DVC experiment that its trial is."""
        return self.tags.get(EXPERIMENT)


def quickly(store: Store) -> list[Known] | None:
    """Return the runs of a store that is a database, without MLflow; None where that cannot be done."""
    if store.uri.partition(":")[0].partition("+")[0] not in _DATABASES:
        return None
    if store.embedded and not store.exists:
        return []
    from sqlalchemy import column, create_engine, select, table
    from sqlalchemy.exc import SQLAlchemyError

    runs = table("runs", *map(column, ("run_uuid", "name", "experiment_id", "artifact_uri", "lifecycle_stage")))
    logged = table("tags", *map(column, ("run_uuid", "key", "value")))
    try:
        engine = create_engine(store.uri)
        with engine.connect() as connection:
            active = connection.execute(select(runs).where(runs.c.lifecycle_stage == "active")).all()
            rows = connection.execute(select(logged).where(logged.c.key.in_(_TAGS))).all()
        engine.dispose()
    except (SQLAlchemyError, ImportError):
        return None
    tags: dict[str, dict[str, str]] = {}
    for run_id, name, value in rows:
        tags.setdefault(run_id, {})[name] = value
    return [
        Known(run_id, name or "", str(experiment_id), tags.get(run_id, {}), _there(address))
        for run_id, name, experiment_id, address, _ in active
    ]


def of_sweep(client: "MlflowClient", store: Store, sweep: str) -> list[Known]:
    """Return the runs of a sweep's trials and of itself, in a store of any kind."""
    known = quickly(store)
    if known is None:
        return slowly(client, f"tags.`{SWEEP}` = '{sweep}'")
    return [run for run in known if run.tags.get(SWEEP) == sweep]


def slowly(client: "MlflowClient", asked: str = f"tags.`{KEY}` != ''") -> list[Known]:
    """Return the runs of trials of any store, of all experiments."""
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    found: list[Known] = []
    token: str | None = None
    while ids and token != "":
        page: Any = client.search_runs(ids, asked, max_results=_PAGE, page_token=token)
        found += [
            Known(run.info.run_id, run.info.run_name, run.info.experiment_id, run.data.tags, whole=True) for run in page
        ]
        token = page.token or ""
    return found


def _there(address: str | None) -> bool:
    """Say whether a run's files are there; of those elsewhere, that is believed."""
    folder = artifacts.local(address or "")
    return folder is None or folder.is_dir()
