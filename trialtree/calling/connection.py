"""Requests to an endpoint over one connection: tried again where that helps, every fault one line."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from trialtree.calling import addresses
from trialtree.calling.asked import Asked, CallError

if TYPE_CHECKING:
    import urllib3

_PAUSES = (0.25, 0.5, 1.0, 2.0)  # seconds before the next try
_LONGEST = 30.0  # seconds of Retry-After that are waited
_BUSY = (429, 503)
_SHOWN = 200  # characters of an answer in a message
_HERE = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Reply:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def said(self) -> Any:
        """What its JSON says; None where it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def reason(self) -> str:
        """What it says of a refusal, in one line."""
        said = self.said
        if isinstance(said, dict):
            found = said.get("message", said.get("error", said.get("detail")))
            if isinstance(found, str):
                return " ".join(found.split())[:_SHOWN]
        media = self.headers.get("content-type", "no type").partition(";")[0]
        return f"{len(self.body):,} bytes of {media}"


class _AgainError(Exception):
    """No answer, of a kind that another try may mend; the message says what it was."""


@dataclass
class Connection:
    """A connection to an endpoint, kept for all requests."""

    base: str
    pool: "urllib3.PoolManager"
    key: str | None = None
    key_from: str = ""
    certificates: Path | None = None
    pauses: tuple[float, ...] = field(default_factory=lambda: _PAUSES)

    @classmethod
    def of(cls, asked: Asked) -> "Connection":
        """Return the connection that is asked for; nothing is sent yet."""
        base = addresses.find(asked.url)
        key, key_from = addresses.key(asked.key_file)
        return cls(base, _pool(base, asked), key, key_from, asked.ca)

    @property
    def shows_key(self) -> bool:
        """Whether others on the way can read the key."""
        parts = urlsplit(self.base)
        return bool(self.key) and parts.scheme == "http" and parts.hostname not in _HERE

    def get(self, path: str) -> Reply:
        """Return the answer to a GET; raises as `post`."""
        return self._tried("GET", path, None)

    def post(self, path: str, body: bytes) -> Reply:
        """Return the answer to JSON, whatever its status but 401 and one that leads elsewhere.

        Raises:
            CallError: there is no answer, the key is not taken, or the endpoint stays busy.
        """
        return self._tried("POST", path, body)

    def _tried(self, method: str, path: str, body: bytes | None) -> Reply:
        for pause in (*self.pauses, None):
            wait, why = pause, ""
            try:
                reply = self._once(method, path, body)
            except _AgainError as fault:
                why = str(fault)
            else:
                if reply.status not in _BUSY:
                    return self._admitted(reply)
                why = f"answers {reply.status}: {reply.reason}"
                if pause is not None:
                    wait = max(pause, _after(reply.headers))
            if wait is not None:
                time.sleep(wait)
        tries = len(self.pauses) + 1
        raise CallError(f"{self.base}: {why}, {tries} times")

    def _admitted(self, reply: Reply) -> Reply:
        if reply.status == 401:
            if self.key:
                raise CallError(f"{self.base}: does not know the key of {self.key_from} (401)")
            raise CallError(
                f"{self.base}: asks for a key (401); name its file, --key-file FILE, or set {addresses.ENVIRONMENT}"
            )
        if 300 <= reply.status < 400:
            # Not followed: the key is for this address.
            where = reply.headers.get("location", "nowhere")[:_SHOWN]
            raise CallError(f"{self.base}: answers {reply.status} and leads to {where}; call that, if you trust it")
        return reply

    def _once(self, method: str, path: str, body: bytes | None) -> Reply:
        import urllib3
        from urllib3 import exceptions

        headers = {"accept": "application/json", "user-agent": "trialtree"}
        if body is not None:
            headers["content-type"] = "application/json"
        if self.key:
            headers["authorization"] = f"Bearer {self.key}"
        try:
            got: urllib3.BaseHTTPResponse = self.pool.request(
                method, self.base + path, body=body, headers=headers, retries=False, redirect=False
            )
        except exceptions.SSLError as error:
            raise CallError(f"{self.base}: {self._untrusted(error)}") from None
        except exceptions.ReadTimeoutError:
            raise CallError(f"{self.base}: no answer within the time; see --timeout and --batch") from None
        except exceptions.NameResolutionError:
            raise CallError(f"{self.base}: the host has no address; see that its name is right") from None
        except (exceptions.NewConnectionError, exceptions.ConnectTimeoutError, exceptions.ProxyError) as error:
            raise _AgainError(f"cannot be reached ({_system(error)})") from None
        except exceptions.IncompleteRead:
            raise _AgainError("the answer was cut off") from None
        except (exceptions.ProtocolError, exceptions.DecodeError) as error:
            raise _AgainError(_broken(error)) from None
        except (exceptions.LocationValueError, UnicodeError):
            raise CallError(f"{self.base}: is no address") from None
        return Reply(got.status, {name.lower(): value for name, value in got.headers.items()}, got.data)

    def _untrusted(self, error: Exception) -> str:
        """Return what is wrong with TLS."""
        said = str(error)
        if "WRONG_VERSION_NUMBER" in said or "record layer" in said.lower():
            return "does not speak TLS; is it http://…?"
        if "CERTIFICATE_VERIFY_FAILED" not in said:
            return f"TLS fails: {said[:_SHOWN]}"
        why = said.partition("certificate verify failed: ")[2].partition(" (_ssl")[0] or "unknown"
        hint = "see whose certificates --ca names" if self.certificates else "name who signed it by --ca FILE"
        return f"its certificate is not trusted: {why}; {hint}"


def _pool(base: str, asked: Asked) -> "urllib3.PoolManager":
    import ssl

    import urllib3

    parts = urlsplit(base)
    given: dict[str, Any] = {"timeout": urllib3.Timeout(connect=min(asked.timeout, 10.0), read=asked.timeout)}
    if parts.scheme == "https":
        try:
            given["ssl_context"] = ssl.create_default_context(cafile=asked.ca and str(asked.ca))
        except (OSError, ssl.SSLError):
            raise CallError(f"--ca {asked.ca}: is no file of certificates (PEM)") from None
    proxy = getproxies().get(parts.scheme)
    host = parts.hostname or ""
    if proxy and host not in _HERE and not proxy_bypass(host):
        return urllib3.ProxyManager(proxy, **given)
    return urllib3.PoolManager(**given)


def _after(headers: Mapping[str, str]) -> float:
    """Return the seconds that an answer asks to wait, within reason."""
    said = headers.get("retry-after", "")
    return min(float(said), _LONGEST) if said.isdecimal() else 0.0


def _system(error: BaseException) -> str:
    """Return what the system says of a connection that is not had."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
        cause = cause.__cause__ or cause.__context__
    return "no connection within the time"


def _broken(error: Exception) -> str:
    said = str(error)
    if "IncompleteRead" in said or "InvalidChunkLength" in said:
        return "the answer was cut off"
    if "RemoteDisconnected" in said or "reset" in said.lower() or "Broken pipe" in said:
        return "ends the connection without an answer"
    return "answers with what is no HTTP; is it https://…?"
