"""Random numbers that are a function of what they are for, and of no library's version."""

import hashlib

_BITS = 53  # of a float's mantissa


def number(*of: object, bits: int = _BITS) -> int:
    """Return a whole number of so many random bits, at most 64."""
    digest = hashlib.sha256("\x00".join(map(str, of)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> (64 - bits)


def uniform(*of: object) -> float:
    """Return a number evenly from (0, 1)."""
    return (number(*of) + 0.5) / (1 << _BITS)
