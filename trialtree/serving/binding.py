"""The socket of a server: which hosts it may have, and what is said where it cannot be had."""

import errno
import ipaddress
import socket

from stages.errors import UserError

_BACKLOG = 2048  # connections that wait to be taken
_EVERYWHERE = ("0.0.0.0", "::", "")  # noqa: S104  # compared with


class BindingError(UserError):
    """A host or port that cannot be had."""


def loopback(host: str) -> bool:
    """Say whether only this machine reaches a host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        BindingError: the host is not this machine's, or the port is taken or not for everyone.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except PermissionError:
        raise BindingError(f"port {port} is not for every user; name another: --port 5001") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise BindingError(
                f"port {port} of {host} is taken; end what has it, or name another: --port {port % 65535 + 1}, "
                "or --port 0 for a free one"
            ) from None
        why = str(error.strerror).partition(" (")[0]  # Python adds its own words
        raise BindingError(f"--host {host}: {why}; it must be an address of this machine") from None


def address(listener: socket.socket, host: str, tls: bool) -> str:
    """Return the address for a client on this machine."""
    shown = "127.0.0.1" if host in _EVERYWHERE else f"[{host}]" if ":" in host else host
    return f"{'https' if tls else 'http'}://{shown}:{listener.getsockname()[1]}"
