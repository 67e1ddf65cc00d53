"""Names that platforms take, made of a model's name, which may hold almost anything."""

import hashlib
import re

_LONGEST = 40  # of the 63 characters of a label: suffixes follow


def plain(text: str) -> str:
    """Return a text in one line, without what a terminal or a file would take for more than text."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def of_service(name: str) -> str:
    """Return a name that Kubernetes takes for a service (RFC 1035), and registries for an image.

    A name that had to be changed ends in six digits of its hash, so that two
    models never get one name.
    """
    made = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_LONGEST].strip("-")
    if made == name and made[0].isalpha():
        return made
    made = made if made[:1].isalpha() else f"model-{made}".strip("-")
    return f"{made}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def of_tag(version: str) -> str:
    """Return a version as an image's tag."""
    return re.sub(r"[^\w.-]", "-", version, flags=re.ASCII).lstrip(".-")[:120] or "latest"
