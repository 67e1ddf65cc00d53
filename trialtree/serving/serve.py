"""`trialtree serve`: the options of a server become its settings, its source and its supervisor."""

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

from stages.errors import UserError
from trialtree.serving import binding, keys, supervisor
from trialtree.serving.registry import asking
from trialtree.serving.settings import MEGABYTE, Plan, Settings
from trialtree.serving.sources import Source

_OPEN = (
    "--host {host}: whoever reaches it could ask, as there are no keys; make one with `trialtree endpoint key NAME` "
    "and give --keys FILE or TRIALTREE_KEYS, or say --anonymous"
)
_LOCAL = "no keys: every program of this machine may ask, and none of another"


class ServeError(UserError):
    """Options that do not fit each other or this machine."""


@dataclass(frozen=True)
class Options:
    """What `trialtree serve` is told; paths are whole."""

    model: str
    host: str = "127.0.0.1"
    port: int = 5001
    workers: int = 1
    traffic: str | None = None
    shadow: str | None = None
    keys: str | None = None  # a file
    anonymous: bool = False
    tls_cert: str | None = None
    tls_key: str | None = None
    log_requests: float = 0.0  # share of the requests
    log_folder: str | None = None
    max_body: float = 16.0  # MB
    max_rows: int = 100_000
    timeout: float = 30.0  # seconds
    concurrency: int = 64  # requests of a worker at once
    unknown_categories: bool = False
    allow_pickle: bool = False
    access_log: bool = True

    def as_json(self) -> dict[str, Any]:
        """Return them as JSON has them."""
        return asdict(self)

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """Return the options of a JSON object; keys of another version are left out."""
        known = {each.name for each in fields(cls)}
        return cls(**{k: v for k, v in given.items() if k in known})


def options(given: Mapping[str, Any], here: Path) -> Options:
    """Return the options of a command line that was given in the folder `here`."""
    paths = ("keys", "tls_cert", "tls_key", "log_folder")
    return Options.of({k: str(here / v) if k in paths and v is not None else v for k, v in given.items()})


def serve(options: Options, say: Callable[[str], None]) -> None:
    """Serve a registered model until a signal.

    Raises:
        UserError: it cannot be served; one line.
    """
    if said := check(options):
        say(said)
    if options.log_requests and not options.log_folder:
        from trialtree.serving.registry import caching

        options = replace(options, log_folder=str(caching.state() / "requests" / asking.parse(options.model).name))
        private(Path(str(options.log_folder)))
        say(f"requests are kept in {options.log_folder}")
    with tempfile.TemporaryDirectory(prefix="trialtree-metrics-") as metrics:
        run(lambda: options, say, Path(metrics), name=asking.parse(options.model).name)


def run(  # noqa: PLR0913  # what an endpoint has, and a server in the foreground has not
    options: Callable[[], Options],
    say: Callable[[str], None],
    metrics: Path,
    *,
    name: str,
    status: Path | None = None,
    last: Callable[[], Plan | None] = lambda: None,
) -> None:
    """Serve what the options say, which are read again at a hangup."""
    now = options()
    wanted = supervisor.Wanted(
        settings=lambda: settings(options(), name, metrics),
        host=now.host, port=now.port, workers=now.workers, status=status,
    )  # fmt: skip
    supervisor.run(wanted, _Later(options, last), say)


class _Later:
    """The registry as a source, imported once the workers have been started: it takes 0.2 s."""

    def __init__(self, options: Callable[[], Options], last: Callable[[], Plan | None]) -> None:
        self._options, self._last = options, last
        self._source: Source | None = None

    @property
    def pace(self) -> float:
        return self._made().pace

    def first(self) -> Plan:
        return self._made().first()

    def poll(self) -> Plan | None:
        return self._made().poll()

    def _made(self) -> Source:
        if self._source is None:
            from trialtree.serving import registered, traffic

            def parts() -> tuple[traffic.Part, ...]:
                now = self._options()
                return traffic.parts(now.model, now.traffic, now.shadow)

            self._source = registered.Registered(parts, self._last)
        return self._source


def settings(options: Options, name: str, metrics: Path) -> Settings:
    """Return what workers are told, keys read.

    Raises:
        UserError: as `check`, so that a server that reads them anew is never open to more than it was to be.
    """
    check(options)
    digests = inputs(options)  # before the keys: what changes in between is seen as changed, and read once more
    given = _given(options)
    return Settings(
        name=name,
        max_body=int(options.max_body * MEGABYTE),
        max_rows=options.max_rows,
        timeout=options.timeout,
        concurrency=options.concurrency,
        keys=given,
        keyed=bool(given or options.keys) or not (options.anonymous or binding.loopback(options.host)),
        inputs=tuple(digests.items()),
        log_requests=options.log_requests,
        log_folder=options.log_folder,
        metrics_folder=str(metrics),
        unknown=options.unknown_categories,
        allow_pickle=options.allow_pickle,
        access_log=options.access_log,
        tls_cert=options.tls_cert,
        tls_key=options.tls_key,
    )


def inputs(options: Options) -> dict[str, str]:
    """Return a digest of each thing beside the options that settings are read from.

    Raises:
        KeysError: of the keys.
    """
    certificate = hashlib.sha256()
    for path in (options.tls_cert, options.tls_key):
        certificate.update(hashlib.sha256(Path(path).read_bytes() if path else b"").digest())
    return {
        "keys": keys_digest(options),
        "environment": keys.digest(keys.gathered(None)),
        "certificate": certificate.hexdigest(),
    }


def keys_digest(options: Options) -> str:
    """Return the digest of the keys that the file of keys has now.

    Raises:
        KeysError: it cannot be read.
    """
    return keys.digest(keys.gathered(Path(options.keys), {}) if options.keys else ())


def private(folder: Path) -> None:
    """Make a folder for this user only; one that is there stays as it is, one that cannot be made is said later."""
    with suppress(OSError):
        folder.mkdir(mode=0o700, parents=True)


def _given(options: Options) -> tuple[keys.Key, ...]:
    return keys.gathered(Path(options.keys) if options.keys else None)


def check(options: Options) -> str | None:
    """Refuse options that do not fit, before anything is started; return what is to be said of them.

    Raises:
        UserError: in one line.
    """
    given = _given(options)
    if options.keys and not given:
        raise ServeError(f"--keys {options.keys}: has no key; `trialtree endpoint key NAME --file {options.keys}`")
    if given and options.anonymous:
        raise ServeError("--anonymous: there are keys, of --keys or the environment; leave one of the two out")
    if not given and not options.anonymous and not binding.loopback(options.host):
        raise ServeError(_OPEN.format(host=options.host))
    _check_tls(options)
    return _LOCAL if not given and binding.loopback(options.host) else None


def _check_tls(options: Options) -> None:
    if not (options.tls_cert or options.tls_key):
        return
    if not (options.tls_cert and options.tls_key):
        raise ServeError("--tls-cert and --tls-key: give both or none")
    import ssl

    for option, path in (("--tls-cert", options.tls_cert), ("--tls-key", options.tls_key)):
        if not Path(path).is_file():
            raise ServeError(f"{option} {path}: there is no such file")
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
            options.tls_cert, options.tls_key, password=_no_password
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error.__class__.__name__
        raise ServeError(f"--tls-cert {options.tls_cert}: is no certificate with that key ({reason})") from None


def _no_password() -> str:
    raise ValueError("a key with a password")
