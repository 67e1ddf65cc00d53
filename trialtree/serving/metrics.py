"""What an endpoint counts, in Prometheus's form, over all of its workers."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trialtree.serving import events

if TYPE_CHECKING:
    from trialtree.serving.settings import Plan

_SECONDS = (.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30)  # fmt: skip
_KINDS = ("counter", "histogram", "gauge_livesum", "gauge_livemax")  # a file each
_ROOM = 262_144  # bytes of a file: some thousand counters
_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def _reserved(folder: Path) -> bool:
    """Write the files of a worker's counters in full, and say whether there was room.

    The library makes them sparse and maps them: on a full disk, the first
    write into a hole would end the process.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for kind in _KINDS:
            path = folder / f"{kind}_{os.getpid()}.db"
            if not path.exists():
                path.write_bytes(bytes(_ROOM))
    except OSError as error:
        events.log("counted in memory only, each worker for itself", error=error.strerror)
        return False
    return True


class Metrics:
    """The counters of one worker, in files of the folder that all workers share."""

    def __init__(self, folder: str | None) -> None:
        """Begin to count; `folder` None counts in this process alone."""
        folder = folder if folder and _reserved(Path(folder)) else None
        if folder:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # read by the import below
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.folder, self.registry = folder, CollectorRegistry()
        to: Any = {"registry": self.registry}
        counted = ["protocol", "status", "model"]
        self.requests = Counter("trialtree_requests_total", "Requests that were answered", counted, **to)
        self.seconds = Histogram(
            "trialtree_request_seconds", "From the request's head to its answer", ["protocol"], buckets=_SECONDS, **to
        )
        self.rows = Counter("trialtree_rows_total", "Rows that were predicted", ["model"], **to)
        self.running = Gauge(
            "trialtree_requests_running", "Requests that are being answered", multiprocess_mode="livesum", **to
        )
        named = ["model", "alias", "digest", "shadow"]
        self.serving = Gauge(
            "trialtree_model_share",
            "Share of the requests that a model answers",
            named,
            multiprocess_mode="livemax",
            **to,
        )
        self.shadow_rows = Counter("trialtree_shadow_rows_total", "Rows that a shadow predicted too", ["model"], **to)
        self.shadow_differing = Counter(
            "trialtree_shadow_differing_rows_total", "Rows that a shadow predicts otherwise", ["model"], **to
        )
        self.shadow_difference = Counter(
            "trialtree_shadow_absolute_difference_total", "Sum of a shadow's differences of numbers", ["model"], **to
        )
        self.shadow_missed = Counter(
            "trialtree_shadow_missed_total", "Requests that a shadow did not see or failed at", ["model"], **to
        )
        self.kept = Counter("trialtree_logged_requests_total", "Requests whose rows were kept", **to)
        self._children: dict[Any, Any] = {}
        self._said: set[tuple[str, str, str, str]] = set()  # the models that were ever served

    def answered(self, protocol: str, status: int, model: str, seconds: float, rows: int) -> None:
        """Count an answer."""
        key = protocol, status, model
        found = self._children.get(key)
        if found is None:
            found = self._children[key] = (
                self.requests.labels(protocol, str(status), model), self.seconds.labels(protocol),
                self.rows.labels(model) if model else None,
            )  # fmt: skip
        found[0].inc()
        found[1].observe(seconds)
        if rows and found[2]:
            found[2].inc(rows)

    def planned(self, plan: "Plan") -> None:
        """Say by which models the worker answers now."""
        shares = {
            (each.label, each.alias or "", each.digest[:12], str(each.shadow).lower()): each.share
            for each in plan.models
        }
        for labels in self._said - shares.keys():
            self.serving.labels(*labels).set(0)
        for labels, share in shares.items():
            self.serving.labels(*labels).set(share)
        self._said |= shares.keys()

    def page(self) -> tuple[bytes, str]:
        """Return what all workers counted."""
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        registry = self.registry
        if self.folder:
            registry = CollectorRegistry()
            MultiProcessCollector(registry, self.folder)  # type: ignore[no-untyped-call]  # it has no types
        return generate_latest(registry), _TYPE


def dead(folder: str, pid: int) -> None:
    """Forget what a worker was doing that has ended; what it counted stays."""
    os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", folder)
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(pid, folder)  # type: ignore[no-untyped-call]  # it has no types


def summary(folder: str) -> dict[str, Any]:
    """Return requests, errors (status 500 and above), refusals (400 and above), rows, and quantiles of the seconds."""
    totals = {"requests": 0, "errors": 0, "refused": 0, "rows": 0}
    buckets: dict[float, float] = {}
    for name, labels, value in _samples(folder):
        if name == "trialtree_requests_total":
            status = int(labels["status"])
            totals["requests"] += int(value)
            totals["errors"] += int(value) if status >= 500 else 0
            totals["refused"] += int(value) if 400 <= status < 500 else 0
        elif name == "trialtree_rows_total":
            totals["rows"] += int(value)
        elif name == "trialtree_request_seconds_bucket":
            buckets[float(labels["le"])] = buckets.get(float(labels["le"]), 0) + value
    quantiles = {f"p{round(100 * share)}": _quantile(buckets, share) for share in (0.5, 0.99)}
    return {**totals, **quantiles}


def _samples(folder: str) -> Iterator[tuple[str, dict[str, str], float]]:
    from prometheus_client import CollectorRegistry
    from prometheus_client.multiprocess import MultiProcessCollector

    if Path(folder).is_dir():
        collector: Any = MultiProcessCollector(CollectorRegistry(), folder)  # type: ignore[no-untyped-call]  # it has no types
        for metric in collector.collect():
            for sample in metric.samples:
                yield sample.name, sample.labels, sample.value


def _quantile(buckets: dict[float, float], share: float) -> float | None:
    """Return the seconds within which a share of the requests was answered, by the middle of their bucket's line."""
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds else 0
    if not total:
        return None
    lower, before = 0.0, 0.0
    for bound in bounds:
        if buckets[bound] >= share * total:
            inside = buckets[bound] - before
            width = (bound if bound != float("inf") else lower) - lower
            return lower + width * ((share * total - before) / inside if inside else 1)
        lower, before = bound, buckets[bound]
    return lower
