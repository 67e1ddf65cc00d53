"""Start the server of a package: what its `serve` runs, told by environment variables.

TRIALTREE_HOST            address to listen at; 127.0.0.1
SAGEMAKER_BIND_TO_PORT    port; 8080
TRIALTREE_WORKERS         processes; as many as there are CPUs
TRIALTREE_KEYS_FILE       keys of clients, as `serving.keys` has them; also TRIALTREE_KEYS, TRIALTREE_TOKEN
TRIALTREE_ANONYMOUS=1     nobody is asked for a key, though others than this machine reach the server
TMPDIR                    the one place that is written to
"""

import json
import os
import sys
import tempfile
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.errors import UserError
from trialtree.serving import binding, keys, supervisor
from trialtree.serving.settings import Plan, Planned, Settings
from trialtree.serving.sources import Fixed
from trialtree.serving.supervisor import Wanted

_HOST, _PORT, _WORKERS = "TRIALTREE_HOST", "SAGEMAKER_BIND_TO_PORT", "TRIALTREE_WORKERS"
_KEYS_FILE, _ANONYMOUS = "TRIALTREE_KEYS_FILE", "TRIALTREE_ANONYMOUS"
_GRACE = 25.0  # seconds to finish what has begun: SageMaker ends a container 30 s after it asked it to stop
_PATIENCE = 4  # seconds for an answer about its health
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104  # compared with
_QUOTAS = (  # of CPU time in a container: Linux's two ways
    (Path("/sys/fs/cgroup/cpu.max"),),
    (Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")),
)


class LaunchError(UserError):
    """A variable that the server cannot be started with."""


def main(folder: Path, args: Sequence[str]) -> None:
    """Do what `serve` was asked for: to serve the package `folder`, or to say whether that is being done.

    Exits with the status: 0, or 1 and a line for what can be mended.
    """
    if list(args) not in ([], ["serve"], ["health"]):
        sys.exit(f"must be `serve`, or nothing, or `health`, got {' '.join(args)!r}: a package only serves")
    try:
        if list(args) == ["health"]:
            sys.exit(_health(os.environ))
        _serve(folder)
    except UserError as error:
        sys.exit(str(error))


def plan(folder: Path) -> Plan:
    """Return the one model of a package, as its workers are told it.

    Raises:
        LaunchError: serve.json is not what `trialtree package` writes.
    """
    path = folder / "serve.json"
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        model = Planned(told["name"], told["version"], str(folder / "model"), told["digest"], gaps=tuple(told["gaps"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LaunchError(f"{path.name} cannot be read: {type(error).__name__}; make the package anew") from None
    return Plan(1, model.name, (model,))


def place(env: Mapping[str, str]) -> tuple[str, int]:
    """Return the host and port to listen at.

    Raises:
        LaunchError: the port is no number of a port.
    """
    return env.get(_HOST) or "127.0.0.1", _number(env, _PORT, 8080, least=0, most=65535)


def workers(env: Mapping[str, str]) -> int:
    """Return how many processes are to answer."""
    return _number(env, _WORKERS, cpus(), least=1, most=1024)


def cpus(quotas: Sequence[Sequence[Path]] = _QUOTAS) -> int:
    """Return how many CPUs this process may keep busy, 1 at least: those it may run on, or its container's share."""
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for paths in quotas:
        try:
            quota, period = map(int, " ".join(path.read_text(encoding="ascii") for path in paths).split())
        except (OSError, ValueError):  # not there, or `max`: no quota
            continue
        if quota > 0 and period > 0:
            own = min(own, quota // period)
    return max(1, own)


def allowed(host: str, env: Mapping[str, str]) -> tuple[keys.Key, ...]:
    """Return the keys that clients must show; none where all may ask.

    Raises:
        UserError: there are none, others than this machine reach `host`, and that is not asked for; or one is odd.
    """
    file = env.get(_KEYS_FILE)
    found = keys.gathered(Path(file) if file else None, env)
    if found or binding.loopback(host) or env.get(_ANONYMOUS) == "1":
        return found
    raise LaunchError(
        f"{_HOST}: {host} is reached from elsewhere, and there are no keys: set {_KEYS_FILE}, "
        f"or {_ANONYMOUS}=1 where the platform asks callers who they are"
    )


def _number(env: Mapping[str, str], name: str, otherwise: int, least: int, most: int) -> int:
    """Return the number that a variable says."""
    given = env.get(name) or str(otherwise)
    if not (given.isascii() and given.isdigit() and least <= int(given) <= most):
        raise LaunchError(f"{name}: must be a number from {least} to {most}, got {given[:40]!r}")
    return int(given)


def _serve(folder: Path) -> None:
    """Serve until a signal."""
    (host, port), count = place(os.environ), workers(os.environ)
    models = plan(folder)
    if file := os.environ.get(_KEYS_FILE):
        os.environ[_KEYS_FILE] = str(Path(file).absolute())
    _enter(folder / "app")
    with tempfile.TemporaryDirectory(prefix="trialtree-") as metrics:

        def settings() -> Settings:
            return Settings(models.name, keys=allowed(host, os.environ), metrics_folder=metrics)

        wanted = Wanted(settings, host, port, count, grace=_GRACE, prove=None)
        try:
            supervisor.run(wanted, Fixed(models), _say)
        except binding.BindingError as error:
            why = str(error).partition(";")[0]
            raise LaunchError(f"{why}; {_HOST} and {_PORT} say where to listen") from None


def _enter(app: Path) -> None:
    """Let workers find our modules in the package, and nowhere else."""
    os.chdir(app)
    others = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = f"{app}{os.pathsep}{others}" if others else str(app)


def _say(line: str) -> None:
    print(line, flush=True)


def _health(env: Mapping[str, str]) -> int:
    """Return 0 where the server on this machine is ready to answer, else 1."""
    host, port = place(env)
    host = "127.0.0.1" if host in _EVERYWHERE else f"[{host}]" if ":" in host else host
    opener: Any = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{host}:{port}/ready", timeout=_PATIENCE) as answer:
            return 0 if answer.status == 200 else 1
    except OSError:
        return 1
