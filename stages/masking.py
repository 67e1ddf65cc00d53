"""Take credentials out of what is printed or written: addresses with a password, a token or a signature."""

import re

_HIDDEN = "***"
_USER = re.compile(r"([A-Za-z][\w+.-]*://)[^/\s@'\"]+@")
# Parameters of an address whose name says that they open a door.
_PARAMETER = re.compile(
    r"(?i)([?&;][\w.-]*(?:sig|token|key|secret|passw|pwd|credential|auth|session)[\w.-]*=)[^&;#\s'\")]+"
)


def masked(text: str) -> str:
    """Return a text with `***` for the credentials of the addresses in it."""
    return _PARAMETER.sub(rf"\1{_HIDDEN}", _USER.sub(rf"\1{_HIDDEN}@", text))


def opens_a_door(address: str) -> bool:
    """Say whether an address carries a password, or a user (which may be a token) where ssh does not ask for one."""
    found = _USER.match(address)
    return found is not None and (found[1] != "ssh://" or ":" in found[0].removeprefix(found[1]))
