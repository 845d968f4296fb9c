"""The addresses that the doors listen on."""

from __future__ import annotations

import ipaddress
import socket

from darnet_trt.errors import UsageError


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def listen(host: str, port: int, waiting: int, option: str) -> socket.socket:
    """Listen on a TCP port.

    Args:
        host: An address or a name; IPv4 where a name has both. "::" takes IPv4, too.
        port: 0 takes a free one.
        waiting: Most connections that the system holds until they are accepted.
        option: Where the address was given.

    Raises:
        UsageError: The port is taken, or the address is none of this machine.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family = min(each[0] for each in found)  # AF_INET comes before AF_INET6
        return socket.create_server(
            (host, port), family=family, backlog=waiting, dualstack_ipv6=host == "::"
        )
    except (OSError, OverflowError, UnicodeError) as error:  # the last: it is no name
        reason = getattr(error, "strerror", None) or error
        raise UsageError(
            f"{host} port {port} cannot be listened on ({reason})",
            where=option,
            do="choose another address or port, or end what listens there",
        ) from error
