"""Configuration: the settings people write, and the resolved ones a node runs with.

Environment variables are not read, except BMS_HOME for the default home (home.py).
"""

from __future__ import annotations

import dataclasses
import platform
from dataclasses import dataclass
from pathlib import Path

from bellande_mesh_sync.addresses import PORT_MAX, format_address, is_loopback, parse_address
from bellande_mesh_sync.config_file import load_config_file, load_node_file
from bellande_mesh_sync.config_model import (
    PORT_OFF,
    Ack,
    Config,
    MeshOptions,
    Profile,
    SpacePolicy,
    changed,
    is_server_url,
)
from bellande_mesh_sync.core.members.member import (
    ANSWER_BYTES,
    RECORD_BYTES_MAX,
    MemberRecord,
    record_bytes,
)
from bellande_mesh_sync.errors import ConfigError
from bellande_mesh_sync.home import Home
from bellande_mesh_sync.ids import NODE_ID_BYTES, PUBLIC_KEY_BYTES, NodeId

__all__ = [
    "PORT_OFF",
    "Ack",
    "Config",
    "MeshOptions",
    "Profile",
    "Settings",
    "SpacePolicy",
    "changed",
    "load_config_file",
    "load_node_file",
    "resolve",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a node runs with: Config and MeshOptions merged, defaults filled in, contradictions refused."""

    name: str
    listen_host: str
    tcp_port: int
    """0: any free one."""
    datagram_port: int | None
    """None: the number of the TCP port, which the shell knows once it listens. 0: any free one. PORT_OFF:
    no datagrams."""
    http_host: str
    http_port: int
    """0: any free one; PORT_OFF: not served. The same for `https_port`."""
    https_host: str
    https_port: int
    advertise: tuple[str, ...]
    """As configured; empty means the address bound, which the shell knows once it listens."""
    bootstrap: tuple[str, ...]
    profile: Profile
    labels: tuple[tuple[str, str], ...]
    """Sorted by name."""
    zone: str
    capacity: int
    node_timeout_s: float
    sync_interval_s: float
    metrics_interval_s: float
    max_clock_drift_s: float
    sweep_grace_s: float
    dev_mode: bool
    encryption: bool
    discovery: bool
    replication: bool
    replication_factor: int
    persistence: bool
    home: Path | None
    """None only in dev mode without persistence: nothing of such a node stays."""
    db_url: str = dataclasses.field(repr=False)
    """`memory:`, `sqlite:///ABSOLUTE PATH`, `postgresql://...` (maybe with a password), or empty for the
    built-in engine in the home's `data/`."""
    cert_path: Path | None
    key_path: Path | None
    certificate_days: float
    tls_ciphers: tuple[str, ...]
    max_connections: int
    max_retries: int
    rebalance_bytes_per_s: int
    rebalance_after_s: float
    spaces: dict[str, SpacePolicy]

    @property
    def listen_address(self) -> str:
        return format_address(self.listen_host, self.tcp_port)

    def policy(self, space: str) -> SpacePolicy:
        """The policy of `space`, or the default one."""
        return self.spaces.get(space, _DEFAULT_POLICY)


_DEFAULT_POLICY = SpacePolicy()


def resolve(config: Config, options: MeshOptions | None = None, home: Path | None = None) -> Settings:
    """Merge both into the settings a node runs with.

    Args:
        home: the home given by the caller (`--home`); it beats `options.persistence_path`, and having
            been given a place to keep things turns persistence on unless `db_url` is `memory:`.

    Raises:
        ConfigError: the settings contradict each other; the field to change is named.
    """
    options = options or MeshOptions()
    listen_host, listen_port = parse_address(config.listen_address)
    _check_dev_mode(options, listen_host, config.http_host)
    tcp_port = listen_port if options.tcp_port is None else options.tcp_port
    http_port = _port_after("http_port", config.http_port, listen_port, 1)
    https_port = _port_after("https_port", config.https_port, listen_port, 2)
    _check_distinct({"tcp_port": tcp_port, "http_port": http_port, "https_port": https_port})
    chosen = home or (Path(options.persistence_path) if options.persistence_path is not None else None)
    persistence = _is_persistent(config, options, chosen)
    chosen = _home(chosen, options.dev_mode, persistence, listen_port)
    bootstrap = config.bootstrap_nodes if options.bootstrap_nodes is None else options.bootstrap_nodes
    name = config.name or platform.node()[:64] or "node"
    _check_record(name, config)
    return Settings(
        name=name,
        listen_host=listen_host,
        tcp_port=tcp_port,
        datagram_port=options.udp_port,
        http_host=config.http_host,
        http_port=http_port,
        https_host=listen_host,
        https_port=https_port,
        advertise=config.advertise,
        bootstrap=tuple(dict.fromkeys(bootstrap)),
        profile=config.profile,
        labels=tuple(sorted(config.labels.items())),
        zone=config.zone,
        capacity=config.capacity,
        node_timeout_s=config.node_timeout if options.node_timeout is None else options.node_timeout,
        sync_interval_s=config.sync_interval,
        metrics_interval_s=options.metrics_interval,
        max_clock_drift_s=config.max_clock_drift_s,
        sweep_grace_s=config.sweep_grace,
        dev_mode=options.dev_mode,
        encryption=options.enable_encryption,
        discovery=options.enable_discovery,
        replication=options.enable_replication,
        replication_factor=options.replication_factor,
        persistence=persistence,
        home=chosen,
        db_url=_db_url(config.db_url, persistence, chosen),
        cert_path=None if options.cert_path is None else Path(options.cert_path),
        key_path=None if options.key_path is None else Path(options.key_path),
        certificate_days=options.certificate_days,
        tls_ciphers=options.tls_ciphers,
        max_connections=options.max_connections,
        max_retries=options.max_retries,
        rebalance_bytes_per_s=round(config.rebalance_rate),
        rebalance_after_s=config.rebalance_after,
        spaces=dict(config.spaces),
    )


def _check_dev_mode(options: MeshOptions, listen_host: str, http_host: str) -> None:
    if options.dev_mode:
        for field, host in (("listen_address", listen_host), ("http_host", http_host)):
            if not is_loopback(host):
                raise ConfigError(field=field, reason=f"dev mode is for loopback only, not {host}")
    elif not options.enable_encryption:
        raise ConfigError(
            field="enable_encryption", reason="it can be turned off in dev mode only; set dev_mode too"
        )


_LONGEST_ROLE = "observer"
_LONGEST_SOFTWARE = 32 * "x"
_LONGEST_ADDRESS = "[1111:2222:3333:4444:5555:6666:7777:8888]:65535"


def _check_record(name: str, config: Config) -> None:
    """What others hear of this node fits into one datagram, whatever address and number it gets.

    The field to change is the one that takes the most.
    """
    labels = tuple(sorted(config.labels.items()))
    addresses = config.advertise or (_LONGEST_ADDRESS,)
    record = MemberRecord(
        NodeId(bytes(NODE_ID_BYTES)), bytes(PUBLIC_KEY_BYTES), name, addresses, _LONGEST_ROLE, 2**63 - 1,
        False, _LONGEST_SOFTWARE, bytes(8), 2**63 - 1, PORT_MAX, bytes(32), labels, config.capacity,
        config.zone, bytes(ANSWER_BYTES), bytes(64),
    )  # fmt: skip
    size = record_bytes(record)
    if size <= RECORD_BYTES_MAX:
        return
    texts = {"labels": str(labels), "advertise": str(config.advertise), "zone": config.zone, "name": name}
    field = max(texts, key=lambda each: len(texts[each].encode()))
    reason = f"the member record takes {size} bytes, and {RECORD_BYTES_MAX} are allowed; shorten this"
    raise ConfigError(field=field, reason=reason)


def _port_after(field: str, given: int | None, listen_port: int, offset: int) -> int:
    if given is not None:
        return given
    if listen_port == 0:
        return 0
    if listen_port + offset > PORT_MAX:
        reason = f"listen port {listen_port} + {offset} is above {PORT_MAX}; choose a port"
        raise ConfigError(field=field, reason=reason)
    return listen_port + offset


def _check_distinct(ports: dict[str, int]) -> None:
    seen: dict[int, str] = {}
    for field, port in ports.items():
        if port > 0 and port in seen:
            raise ConfigError(field=field, reason=f"port {port} is already the {seen[port]}")
        seen[port] = field


def _is_persistent(config: Config, options: MeshOptions, home: Path | None) -> bool:
    if config.db_url == "memory:":
        if options.enable_persistence:
            raise ConfigError(field="db_url", reason="memory: keeps nothing, but enable_persistence is on")
        return False
    return options.enable_persistence or home is not None or bool(config.db_url)


def _home(chosen: Path | None, dev_mode: bool, persistence: bool, listen_port: int) -> Path | None:
    if chosen is not None:
        return chosen.expanduser().absolute()
    if not dev_mode:
        return Home.default().path
    if not persistence:
        return None
    # Several dev nodes of one user are the usual thing, and none may touch the user's real home.
    return Home.dev_path() / "nodes" / str(listen_port)


def _db_url(url: str, persistence: bool, home: Path | None) -> str:
    if not persistence:
        return "memory:"
    if not url or is_server_url(url):
        return url
    path = Path(url.removeprefix("sqlite:///")).expanduser()
    assert home is not None, "a persistent node has a home"
    return f"sqlite:///{home / path}"
