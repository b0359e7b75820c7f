"""Failed attempts by address, so that nobody can guess on and on. In a file: a restart forgives nothing."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import msgspec

from bellande_mesh_sync.errors import TooManyAttemptsError
from bellande_mesh_sync.files import read_private, write_atomic

FAILURES_MAX = 5
WINDOW_S = 60.0
NETWORKS_MAX = 1_000
"""More addresses than this within a minute, and the oldest is forgotten."""


class Guesses:
    """Who failed when, during the last minute. The caller holds a lock around each use."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def check(self, address: str, now: float) -> None:
        """TooManyAttemptsError if `address` has had its share of failures for this minute."""
        times = self._load(now).get(network_of(address), [])
        if len(times) >= FAILURES_MAX:
            wait_s = WINDOW_S - (now - times[-FAILURES_MAX])
            raise TooManyAttemptsError(address=address, wait_s=round(wait_s, 1))

    def note(self, address: str, now: float) -> None:
        """Count a failure."""
        failures = self._load(now)
        network = network_of(address)
        # Taken out and put in again, to be the youngest.
        failures[network] = [*failures.pop(network, []), now][-FAILURES_MAX:]
        while len(failures) > NETWORKS_MAX:
            del failures[next(iter(failures))]
        # Not worth waiting for the disk, which a stranger could then keep busy.
        write_atomic(self._path, msgspec.json.encode(failures), durable=False)

    def _load(self, now: float) -> dict[str, list[float]]:
        try:
            stored = msgspec.json.decode(read_private(self._path), type=dict[str, list[float]])
        except (FileNotFoundError, msgspec.MsgspecError):
            return {}
        # A time ahead of us was written before the clock was set back; it would never end.
        recent = {network: [t for t in times if 0 <= now - t < WINDOW_S] for network, times in stored.items()}
        return {network: times for network, times in recent.items() if times}


def network_of(address: str) -> str:
    """Whom to count failures against: an IPv6 host owns a whole /64, so that shares one count."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is None:
            return str(ipaddress.ip_network((ip, 64), strict=False))
        return str(ip.ipv4_mapped)
    return str(ip)
