"""The runs and model versions that MLflow has of trials."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from trialtree.lineage.chain import Run, Version
from trialtree.tracking import stores
from trialtree.tracking.trials import COMMITS, DIGEST, DIRTY, EXPERIMENT, KEY

if TYPE_CHECKING:
    from mlflow import MlflowClient

_PAGE = 1000
_AFTER = "what Git holds can be shown without it"


class View:
    """What can be asked of MLflow."""

    def __init__(self, client: "MlflowClient") -> None:
        self._client = client
        self._experiments = {e.experiment_id: e.name for e in client.search_experiments()}
        self._aliases: dict[str, dict[str, str]] = {}
        self.logged: dict[str, Any] = {}  # runs as MLflow has them, by id

    def runs(self, text: str) -> list[Run]:
        """Return the runs for which a filter of MLflow holds, the first made first."""
        found: list[Run] = []
        token: str | None = None
        while token != "":
            page = self._client.search_runs(
                list(self._experiments), text, max_results=_PAGE, page_token=token,
                order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
            )  # fmt: skip
            found += [self._run(run) for run in page]
            token = page.token or ""
        return found

    def _run(self, run: Any) -> Run:
        tags, info = run.data.tags, run.info
        self.logged[info.run_id] = run
        return Run(
            info.run_id, info.run_name, self._experiments[info.experiment_id], tags.get("branch"), tags.get("USER"),
            info.start_time or 0, tags.get(EXPERIMENT), tags.get(DIRTY) == "true", tags,
        )  # fmt: skip

    def versions(self, texts: Iterable[str]) -> list[Version]:
        """Return the model versions for which one of some filters holds, by name and number."""
        found = {(v.name, int(v.version)): v for text in texts for v in self._client.search_model_versions(text)}
        return [self._version(found[place]) for place in sorted(found)]

    def version(self, name: str, ref: str) -> Version | None:
        """Return a version by its number or alias; None where there is none."""
        if not self._client.search_registered_models(f"name = '{name}'"):
            return None
        number = ref if ref.isdigit() else self._held(name).get(ref)
        found = [v for v in self.versions([f"name = '{name}'"]) if v.number == str(number)]
        return found[0] if found else None

    def _version(self, version: Any) -> Version:
        tags, number = version.tags, str(version.version)
        held = sorted(alias for alias, at in self._held(version.name).items() if at == number)
        commits = tags.get(COMMITS, "").split()
        return Version(version.name, number, held, tags.get(DIGEST), tags.get(KEY), version.run_id, commits)

    def _held(self, name: str) -> dict[str, str]:
        if name not in self._aliases:
            aliases = self._client.get_registered_model(name).aliases
            self._aliases[name] = {alias: str(number) for alias, number in aliases.items()}
        return self._aliases[name]


@contextmanager
def opened() -> "Iterator[tuple[View | None, str | None]]":
    """Yield what MLflow has, or a line that says why it cannot be asked."""
    store = stores.find()
    if store.embedded and not (store.top / "mlflow.db").exists():
        yield None, f"MLflow has no store at {store.shown} yet; this is what Git holds"
        return
    entered = False
    try:
        with store.opened(after=_AFTER) as client:
            view = View(client)
            entered = True
            yield view, None
    except stores.StoreError as error:
        if entered:
            raise
        yield None, f"{str(error).removesuffix(_AFTER)}this is what Git holds"
