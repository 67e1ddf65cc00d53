"""Download a file by http or https; by requests, which knows proxies, redirects and ~/.netrc."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from stages import masking, streams
from stages.content import Facts, File
from stages.tables import DataError

if TYPE_CHECKING:
    import requests

SCHEMES = ("http://", "https://")
_TIMEOUT = (10, 60)  # seconds to connect, and between two chunks
_PASSING = (408, 425, 429, 500, 502, 503, 504)  # status of faults that may pass
_ADVICE = "see that the network, the address and the proxy (HTTPS_PROXY) are right, then run it again"


class _SameError(Exception):
    """The server has the version that is known."""


def fault(name: str) -> str | None:
    """Return what is wrong with an address as a source."""
    if masking.opens_a_door(name):
        return "must not carry a user or a password, for it stands in Git; put them into ~/.netrc"
    return None if urlsplit(name).hostname else "must be an address with a host, as https://example.org/table.csv"


def download(url: str, folder: Path, known: Sequence[Facts] | None = None) -> list[File] | None:
    """Download a file into a folder, which may hold the beginning of it; None where it is the `known` one.

    Raises:
        DataError: there is no such file, the server refuses it, or it cannot be reached.
    """
    import requests

    shown = masking.masked(url)
    path = folder / f"0{suffix(urlsplit(url).path)}"
    seen: dict[str, str] = {}

    @contextmanager
    def opened(start: int, validator: str | None) -> Iterator[streams.Stream]:
        headers = {"Accept-Encoding": "identity"}
        if start and validator:
            headers |= {"Range": f"bytes={start}-", "If-Range": validator}
        with _answer(session, url, path, headers) as response:
            seen["encoding"] = response.headers.get("Content-Encoding", "identity").lower()
            if known is not None and _same(response, known):
                raise _SameError
            yield _stream(response, path)

    with requests.Session() as session:
        try:
            facts = streams.save(path, shown, opened, _ADVICE)
        except _SameError:
            return None
    _decode(path, shown, seen["encoding"])
    return [File(shown, path, facts)]


def suffix(path: str) -> str:
    """Return the ending of a path in an address, such as `.csv.gz`, by which archives are told."""
    name = PurePosixPath(unquote(path)).name
    return next(iter(re.findall(r"(?:\.\w{1,8}){1,2}$", name, re.ASCII)), "").lower()


@contextmanager
def _answer(
    session: "requests.Session", url: str, path: Path, headers: dict[str, str]
) -> "Iterator[requests.Response]":
    """Yield a server's answer that is no refusal; what breaks while it is read may pass."""
    import requests
    from urllib3.exceptions import HTTPError

    shown = masking.masked(url)
    try:
        with session.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
            if response.status_code == 416:
                path.unlink(missing_ok=True)
                raise streams.BrokenOffError("has become shorter while it was read")
            _check(response, shown)
            yield response
    except requests.exceptions.SSLError as error:
        raise DataError(
            f"{shown}: the server's certificate is not trusted: {reason(error)}; "
            "REQUESTS_CA_BUNDLE names the file of an authority of your own"
        ) from None
    except requests.exceptions.ProxyError as error:
        raise streams.BrokenOffError(f"the proxy does not answer: {reason(error)}") from None
    except requests.Timeout:
        raise streams.BrokenOffError("the server does not answer in time") from None
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError, HTTPError) as error:
        raise streams.BrokenOffError(f"cannot be read: {reason(error)}") from None
    except requests.RequestException as error:
        raise DataError(f"{shown}: cannot be read: {reason(error)}; see that the address is right") from None


def reason(error: BaseException) -> str:
    """Return the innermost cause that a library's error names, on one line, without credentials."""
    inner: Any = error
    for _ in range(10):
        kept = [getattr(inner, "reason", None), getattr(inner, "kwargs", {}).get("error")]  # by urllib3, by boto3
        inside = [*kept, *inner.args, inner.__cause__, inner.__context__]
        deeper = next((each for each in inside if isinstance(each, BaseException)), None)
        if deeper is None:
            break
        inner = deeper
    text = getattr(inner, "strerror", None) or str(inner) or type(inner).__name__
    return masking.masked(" ".join(str(text).split()))


def _check(response: "requests.Response", shown: str) -> None:
    """Raise for an answer that is a refusal."""
    status, said = response.status_code, f"the server answers {response.status_code} {response.reason}".strip()
    if status in (200, 206):
        return
    if status in _PASSING:
        wait = response.headers.get("Retry-After", "")
        raise streams.BrokenOffError(said, float(wait) if wait.isdigit() else 0.0)
    if status in (401, 403, 407):
        door = "the proxy's address" if status == 407 else "~/.netrc (machine, login and password)"
        raise DataError(f"{shown}: {said}: no permission; put credentials into {door}, or renew a signed address")
    if status in (404, 410):
        raise DataError(f"{shown}: {said}: there is no such file; see that fetch.source in params.yaml is right")
    raise DataError(f"{shown}: {said}; see that fetch.source in params.yaml is right")


def _same(response: "requests.Response", known: Sequence[Facts]) -> bool:
    """Say whether an answer is of the version that is known."""
    if len(known) != 1:
        return False
    ours, theirs = known[0], _facts(response)
    if "etag" in ours or "etag" in theirs:
        return ours.get("etag") == theirs.get("etag")
    length = response.headers.get("Content-Length", "")
    same_length = length == str(ours.get("bytes")) or response.headers.get("Content-Encoding") is not None
    return "last_modified" in ours and ours["last_modified"] == theirs.get("last_modified") and same_length


def _facts(response: "requests.Response") -> dict[str, str]:
    """Return what tells the version of a file."""
    found = {"etag": response.headers.get("ETag"), "last_modified": response.headers.get("Last-Modified")}
    return {name: value for name, value in found.items() if value}


def _stream(response: "requests.Response", path: Path) -> streams.Stream:
    """Return an answer's bytes as they were sent."""
    start, length = 0, response.headers.get("Content-Length", "")
    total = int(length) if length.isdigit() else None
    if response.status_code == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if found is None or int(found[1]) != path.stat().st_size:
            path.unlink(missing_ok=True)
            raise streams.BrokenOffError("answers with another part of the file than was asked for")
        start, total = int(found[1]), None if found[2] == "*" else int(found[2])
    chunks = response.raw.stream(streams.CHUNK, decode_content=False)
    return streams.Stream(start, total, _validator(response), chunks, _facts(response))


def _validator(response: "requests.Response") -> str | None:
    """Return what promises the same bytes: a strong ETag, or a time that was over when the server answered."""
    etag = response.headers.get("ETag", "")
    if etag and not etag.startswith("W/"):
        return etag
    modified, now = response.headers.get("Last-Modified"), response.headers.get("Date")
    try:
        over = modified and now and parsedate_to_datetime(modified) < parsedate_to_datetime(now)
    except (TypeError, ValueError):
        return None
    return modified if over else None


def _decode(path: Path, shown: str, encoding: str) -> None:
    """Undo a packing that the server did only to send the file; what is stored as .gz stays so.

    Raises:
        DataError: the packing is not known, or damaged.
    """
    import gzip
    import shutil
    import zlib

    if encoding in ("", "identity") or (path.suffix in (".gz", ".tgz") and encoding in ("gzip", "x-gzip")):
        return
    if encoding not in ("gzip", "x-gzip"):
        raise DataError(
            f"{shown}: is sent packed by {encoding[:20]!r}, which was not asked for; have the server send it plain"
        )
    plain = path.with_name(f"plain{path.suffix}")
    try:
        with gzip.open(path) as packed, plain.open("wb") as file:
            shutil.copyfileobj(packed, file, streams.CHUNK)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        path.unlink()
        raise DataError(f"{shown}: was sent packed, and damaged: {error}; run it again") from None
    plain.replace(path)
