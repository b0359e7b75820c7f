"""Network addresses as people write them: `host:port`, and `[host]:port` for IPv6."""

from __future__ import annotations

import ipaddress
import re

PORT_MAX = 65_535
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?")


def parse_address(text: str) -> tuple[str, int]:
    """Split `host:port`; ValueError, with the reason, for anything else. The port may be 0."""
    host, colon, port_text = text.rpartition(":")
    if not colon or not host:
        raise ValueError(f"{text!r} is not HOST:PORT")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        ipaddress.IPv6Address(host)
    elif ":" in host:
        raise ValueError(f"{text!r} is not HOST:PORT; an IPv6 host stands in brackets, as [::1]:8000")
    elif not _HOST.fullmatch(host):
        raise ValueError(f"{host!r} is not a host name or address")
    if not (port_text.isascii() and port_text.isdecimal()) or len(port_text) > 5 or int(port_text) > PORT_MAX:
        raise ValueError(f"{port_text!r} is not a port between 0 and {PORT_MAX}")
    return host, int(port_text)


def format_address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # A name may resolve to anything.


def is_wildcard(host: str) -> bool:
    """Whether `host` means every interface, which is an address to listen on but not to dial."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False
