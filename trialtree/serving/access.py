"""Who may ask."""

from collections.abc import Mapping
from hashlib import sha256

from trialtree.serving.faults import Refused

_BEARER = b"bearer "


class Keys:
    """The keys of those who may ask, by their SHA-256; without any, everyone may, or nobody where it is `keyed`."""

    def __init__(self, keys: tuple[tuple[str, str], ...], keyed: bool = False) -> None:
        self._open = not keys and not keyed
        # Found by its digest, a key is not compared with: how long that takes says nothing of it.
        self._names = {digest.lower(): name for name, digest in keys}

    def admit(self, headers: Mapping[bytes, bytes]) -> str | None:
        """Return the name of a request's key; None where none is asked for.

        Raises:
            Refused: there is none, or it is not known.
        """
        if self._open:
            return None
        given = headers.get(b"authorization", b"")
        key = (
            given[len(_BEARER) :].strip()
            if given[: len(_BEARER)].lower() == _BEARER
            else headers.get(b"x-api-key", b"")
        )
        if not key:
            raise _unknown("a key is needed: Authorization: Bearer KEY, or X-API-Key: KEY")
        name = self._names.get(sha256(key).hexdigest())
        if name is None:
            raise _unknown("the key is not known here")
        return name


def _unknown(reason: str) -> Refused:
    return Refused(401, reason, headers={"www-authenticate": "Bearer"})
