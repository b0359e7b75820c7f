"""Config, MeshOptions and SpacePolicy: every setting with its meaning, checked when it is made.

Importing this loads neither asyncio nor a cryptographic library, so that `bms --help` stays quick.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from bellande_mesh_sync.addresses import format_address, parse_address
from bellande_mesh_sync.errors import ConfigError, InvalidKeyError, UnsupportedError
from bellande_mesh_sync.keys import check_key

if TYPE_CHECKING:
    from msgspec import StructMeta
else:
    StructMeta = type(Struct)

Ack = Literal["local", "one", "quorum", "all"]
Profile = Literal["lan", "fast", "wan"]

CONFLICT_WORDS = ("lww", "siblings", "max", "min", "counter", "set", "map")
_FUNCTION_NAME = re.compile(r"\w+(\.\w+)*:\w+")

PORT_OFF = -1
"""As `http_port`, `https_port` or `udp_port`: do not serve it."""

LABEL_CHARACTERS_MAX = 64
LABEL_BYTES_MAX = 255
"""Other members refuse a record with a longer name, label or zone."""
CAPACITY_MAX = 1_000_000
HISTORY_MAX = 1_000
SHARDS_MIN = 64
SHARDS_MAX = 16_384
CONNECTIONS_MAX = 100_000

_YEAR_S = 365 * 86_400
_Seconds = Annotated[float, Meta(gt=0, le=_YEAR_S)]
_Port = Annotated[int, Meta(ge=0, le=65_535)]
_ServedPort = Annotated[int, Meta(ge=PORT_OFF, le=65_535)]
_VALIDATION_ERROR = re.compile(r"(?P<reason>.*?)(?: - at (?:`key` in )?`\$\.?(?P<path>.*)`)?", re.DOTALL)
_ConfigT = TypeVar("_ConfigT", bound="Config | MeshOptions | SpacePolicy")


class _Checked(StructMeta):
    """Makes a Struct check names, types and ranges when code makes one, not only when it is decoded."""

    def __call__(cls, *args: Any, **values: Any) -> Any:
        if args:
            raise TypeError(f"{cls.__name__} takes keyword arguments only")
        _refuse_unknown(cls.__struct_fields__, values)
        given = {name: _plain(name, value) for name, value in values.items()}
        try:
            return msgspec.convert(given, cls)
        except msgspec.ValidationError as error:
            raise config_error(str(error)) from None


class SpacePolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, metaclass=_Checked):
    """How the keys of one space are kept; `[spaces.NAME]` in node.toml."""

    replicas: Annotated[int, Meta(ge=1)] | Literal["all"] = "all"
    """How many members hold each key: all, or so many, chosen by hash, capacity and zone. Any node reads and
    writes all of it; see the guide on replicas. It cannot be changed for a space that holds something, not
    between "all" and a number. Give all nodes of a mesh the same."""
    shards: Annotated[int, Meta(ge=SHARDS_MIN, le=SHARDS_MAX)] = 256
    """Parts that a space with a number of replicas is cut into; each moves as a whole. Forty for each member
    keep the fullest one within a third of the average, so 256 do for 6 members and 4,096 for 100; each costs
    memory and traffic. It cannot be changed for a space that holds something. Give all nodes the same."""
    conflict: str = "lww"
    """What readers see of writes that did not know of each other, all of which are kept. `lww` and
    `siblings`: the latest by hybrid clock, and how many there are. `max`, `min`: the largest or smallest
    number ever written. `counter`, `set`, `map`: all of them together, by what they add, hold or say of each
    field. `module:function`: what this function makes of them. Give all nodes of a mesh the same."""
    history: Annotated[int, Meta(ge=0, le=HISTORY_MAX)] = 3
    """Replaced versions that this node keeps of each key beside what is visible, for `bms history`,
    `bms get --at` and `bms restore`; up to 1000. Each takes the disk space of a record. With any of them an
    overwrite takes the store half as long again; new keys cost the same. 0: none. A lower number counts
    from a key's next write on."""
    history_for: _Seconds | None = None
    """Seconds after which a replaced version is forgotten, however few there are; None: its age does not
    matter. Counted from when it was replaced; a change counts for what is replaced from then on."""
    ttl: _Seconds | None = None
    """Seconds until a value expires; None: never. This version supports None."""
    ack: Ack = "local"
    """Durability of a write that does not ask for one: on this node's disk, on one other's, on a
    majority's, on everyone's."""
    encrypt: bool = False
    """Whether values are sealed on disk. This version supports False; links are always encrypted."""


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, metaclass=_Checked):
    """What a node is told about its place in the network. Unknown names, wrong types and values out
    of range raise ConfigError, which names the field. The same fields stand at the top of node.toml.
    """

    listen_address: str = "127.0.0.1:8000"
    """Where peers reach this node, HOST:PORT. Port 0: any free one. With port P, HTTP is on P+1 and
    HTTPS on P+2. Everybody with more than one machine changes it, usually to 0.0.0.0:8000."""
    node_timeout: _Seconds = 300.0
    """A member silent for this many seconds is dead at the latest, whatever else was found out about it;
    and `cleanup_dead_nodes` removes those that have been dead for longer than this. At least a few times
    `sync_interval`. Lower it where nodes come and go and lists must be fresh."""
    profile: Profile = "lan"
    """How quickly members judge each other. `lan`: machines at one site; a dead one is known to all in 6
    to 20 s. `fast`: the same in half the time, for round trips well below 0.2 s; with longer ones it stays
    right, but suspects and refutes all the time. `wan`: sites far apart, or links that stall for
    seconds; patient, with a fifth of the probes. All nodes of a mesh should have the same."""
    bootstrap_nodes: tuple[str, ...] = ()
    """Addresses (HOST:PORT) of members to call first. Two or three that are usually up are enough: the
    others are learnt from them, and remembered. A name may have many addresses: all are tried."""
    sync_interval: _Seconds = 30.0
    """Seconds between two comparisons with a peer. Writes spread at once without it; this bounds how
    long a lost one stays lost. 5 to 300; lower costs traffic that grows with the number of authors."""
    db_url: str = ""
    """Where records live. Empty: the built-in engine in the home's `data/`. `memory:`: nowhere, they
    are gone at the end. `sqlite:///PATH`: that file; a relative PATH starts at the home.
    `postgresql://USER@HOST:PORT/DATABASE?schema=NAME`: a server (needs the extra `postgres`); without
    `schema` the node takes one of its own, `bms_` and the start of its id."""
    name: str = ""
    """What people call this node, up to 64 characters. Empty: the machine's host name."""
    advertise: tuple[str, ...] = ()
    """Addresses (HOST:PORT) told to other members. Empty: the listen address; where that is all
    interfaces, up to four addresses of this machine, and new ones when they change. Set it behind NAT
    or a container's port mapping."""
    labels: dict[str, str] = {}
    """What others should know of this node, name and value: `{model = "gantry", floor = "2"}`. Up to 64
    characters each, printable. All of it travels in the node's member record of at most 1,024 bytes, which
    leaves some 700 for labels, zone, name and addresses."""
    zone: str = ""
    """What this node shares with others that fail together with it: a rack, a site. Up to 64 characters. In
    spaces with a number of replicas no two of them hold the same key, as long as there are zones enough."""
    capacity: Annotated[int, Meta(ge=0, le=CAPACITY_MAX)] = 100
    """How much this node can hold, compared with others: of spaces with a number of replicas one of 200 holds
    twice as much as one of 100, and one of 0 nothing. What every member holds, it holds too."""
    http_host: str = "127.0.0.1"
    """Interface of the plain HTTP API. Anything but loopback sends tokens readable over the network."""
    http_port: _ServedPort | None = None
    """None: one above the listen port. 0: any free one. -1: off."""
    https_port: _ServedPort | None = None
    """None: two above the listen port. 0: any free one. -1: off, and then no one can join through
    this node."""
    max_clock_drift_s: _Seconds = 60.0
    """A write stamped further ahead of this node's clock than this is refused until its time has
    come, and reported. Above the worst honest clock error of the fleet; 1 to 600."""
    rebalance_rate: Annotated[float, Meta(ge=1_000)] = 32e6
    """Bytes a second that this node reads for others at most, in spaces with a number of replicas, when
    members come and go. Below what its disk and network have to spare."""
    rebalance_after: _Seconds = 600.0
    """Seconds after which a dead member no longer counts as an owner: others take over what it held. Longer
    than a restart takes."""
    sweep_grace: Annotated[float, Meta(ge=0, le=_YEAR_S)] = 3600.0
    """Seconds that a part of a large value stays on the disk after nothing was found to refer to it. Longer
    than a peer takes to fetch a value that is still being written: shorter costs fetching it again."""
    spaces: dict[str, SpacePolicy] = {}
    """Policies by space name; a space without one has the defaults of SpacePolicy."""

    def __post_init__(self) -> None:
        _check_address("listen_address", self.listen_address, port_min=0)
        for field in ("bootstrap_nodes", "advertise"):
            for index, address in enumerate(getattr(self, field)):
                _check_address(f"{field}[{index}]", address, port_min=1)
        _check_address("http_host", format_address(self.http_host, 0))
        _check_label_text("name", self.name)
        check_zone(self.zone)
        check_labels(self.labels)
        _check_db_url(self.db_url)
        for name, policy in self.spaces.items():
            check_space(name, policy)

    def __repr__(self) -> str:
        """As that of any struct, without what a database's URL may hold of secrets."""
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        if is_server_url(self.db_url):
            values["db_url"] = "postgresql://..."
        return f"Config({', '.join(f'{name}={value!r}' for name, value in values.items())})"


TLS_SUITES: Final = (
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_128_CCM_SHA256",
)
"""Of TLS 1.3; the last is off in OpenSSL unless it is configured."""


class MeshOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, metaclass=_Checked):
    """How a node runs; `[options]` in node.toml. Where a field stands in Config too, the one given
    here wins, unless it is None. Checked like Config."""

    cert_path: str | None = None
    """This node's certificate (PEM), if it is kept outside the home's `identity/`; with `key_path`."""
    key_path: str | None = None
    """The private key of `cert_path` (PEM, readable by its owner only)."""
    tls_ciphers: tuple[str, ...] = ()
    """Cipher suites of TLS 1.3 that links may use; empty: any. A link with another one is refused, and so is
    a start where OpenSSL would choose another: which it chooses is set by a line `Ciphersuites = ...` in the
    file that OPENSSL_CONF names. Only who has a policy to follow changes it."""
    tls_min_version: Literal["1.3"] = "1.3"
    """Links speak TLS 1.3 and nothing older; there is nothing newer yet. Other values are refused."""
    certificate_days: Annotated[float, Meta(gt=0, le=3650)] = 30.0
    """How long the certificates are valid that this node issues, if it can: to those who join, and to members
    when they are renewed. Members ask when a third is left, so they may be out of reach for that long: a
    fleet that is seldom together wants more. 1 to 400."""
    dev_mode: bool = False
    """Try things out on one machine: a throwaway authority shared by this user's dev nodes, no `bms
    init` needed. Loopback only."""
    metrics_interval: _Seconds = 60.0
    """Seconds between two metric snapshots. 1 to 3600. No effect yet: this version takes none."""
    max_connections: Annotated[int, Meta(ge=1, le=CONNECTIONS_MAX)] = 1000
    """Links open at once; beyond it a further one is turned away. Above the number of members, and below
    the process's limit of open files."""
    enable_persistence: bool = False
    """Keep records on disk. A node that was given a home keeps them there in any case; `db_url =
    "memory:"` is the way to keep nothing."""
    persistence_path: str | None = None
    """The home to keep them in. None: the user's data folder. Given, it also turns persistence on."""
    node_timeout: _Seconds | None = None
    """See Config.node_timeout (300 s)."""
    enable_discovery: bool = True
    """Find members on the local network by multicast DNS, and be found there, on the interfaces of
    `listen_address`; a node on loopback stays on its machine. Off: by `bootstrap_nodes`, by what other
    members tell, and by who was known before, which work in any case."""
    bootstrap_nodes: tuple[str, ...] | None = None
    """See Config.bootstrap_nodes."""
    enable_encryption: bool = True
    """Mutual TLS between nodes. It can be turned off in dev mode only."""
    tcp_port: _Port | None = None
    """The port for links, if not listen_address's. 0: any free one."""
    udp_port: _ServedPort | None = None
    """The port for datagrams, by which members look after each other. None: the same number as the TCP
    port. 0: any free one. -1: off, and everything goes over links: for networks that let no UDP through."""
    max_retries: Annotated[int, Meta(ge=0, le=1000)] = 3
    """How often a message that must arrive is tried again. No effect yet: messages are best effort."""
    enable_replication: bool = True
    """Exchange records with other members. This version always does: leave it on."""
    replication_factor: Annotated[int, Meta(ge=1, le=1000)] = 3
    """No effect: how many members hold a key is a setting of its space, `replicas`."""

    def __post_init__(self) -> None:
        for index, address in enumerate(self.bootstrap_nodes or ()):
            _check_address(f"bootstrap_nodes[{index}]", address, port_min=1)
        if (self.cert_path is None) != (self.key_path is None):
            missing = "key_path" if self.key_path is None else "cert_path"
            raise ConfigError(field=missing, reason="cert_path and key_path are given together or not at all")
        for suite in self.tls_ciphers:
            if suite not in TLS_SUITES:
                raise ConfigError(field="tls_ciphers", reason=f"{suite!r} is none of {', '.join(TLS_SUITES)}")
        if not self.enable_replication:
            # Ignored, it would send to others what was meant to stay.
            raise UnsupportedError(what="enable_replication=False", field="enable_replication")


def changed(settings: _ConfigT, **changes: Any) -> _ConfigT:
    """A copy with some fields changed, checked like a new one."""
    values = {name: getattr(settings, name) for name in settings.__struct_fields__}
    return type(settings)(**{**values, **changes})


def _plain(name: str, value: Any) -> Any:
    """Paths become text, and each space's table is checked by itself so that an error can name it."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if name == "spaces" and isinstance(value, Mapping):
        return {space: policy_of(space, table) for space, table in value.items()}
    return value


def policy_of(space: object, table: object) -> SpacePolicy:
    """The policy in a table; ConfigError names the space and the field."""
    if isinstance(table, SpacePolicy):
        return table
    if not isinstance(table, Mapping):
        raise ConfigError(field=f"spaces.{space}", reason=f"a table is expected, not {table!r}")
    try:
        return SpacePolicy(**table)
    except ConfigError as error:
        raise ConfigError(field=f"spaces.{space}.{error.field}", reason=error.reason) from None


def _refuse_unknown(known: tuple[str, ...], values: Mapping[str, Any]) -> None:
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(sorted(known))}"
            raise ConfigError(field=name, reason="unknown" + hint)


def config_error(message: str) -> ConfigError:
    """The error for what msgspec says of a setting."""
    match = _VALIDATION_ERROR.fullmatch(message)
    assert match is not None, "the expression matches any text"
    return ConfigError(field=match["path"] or "(all)", reason=match["reason"].replace("`", ""))


def _check_address(field: str, address: str, port_min: int = 0) -> None:
    try:
        _, port = parse_address(address)
    except ValueError as error:
        raise ConfigError(field=field, reason=str(error)) from None
    if port < port_min:
        raise ConfigError(field=field, reason=f"{address!r}: port {port} cannot be called")


def check_labels(labels: Mapping[str, str]) -> None:
    """ConfigError naming the label, if it has no name or one of its texts is too long or not printable."""
    for name, value in labels.items():
        if not name:
            raise ConfigError(field="labels", reason="a label has a name")
        _check_label_text(f"labels.{name}", name)
        _check_label_text(f"labels.{name}", value)


def check_zone(zone: str) -> None:
    _check_label_text("zone", zone)


def _check_label_text(field: str, text: str) -> None:
    if len(text) > LABEL_CHARACTERS_MAX or not text.isprintable() or len(text.encode()) > LABEL_BYTES_MAX:
        reason = f"{text!r} is not up to {LABEL_CHARACTERS_MAX} printable characters"
        raise ConfigError(field=field, reason=reason)


_SERVER_SCHEMES = ("postgresql://", "postgres://")


def is_server_url(url: str) -> bool:
    """Whether a `db_url` names a database server; such a one may hold a password."""
    return url.startswith(_SERVER_SCHEMES)


def _check_db_url(url: str) -> None:
    if url in ("", "memory:") or (url.startswith("sqlite:///") and len(url) > len("sqlite:///")):
        return
    if is_server_url(url):
        return
    supported = "an empty text (built-in engine), memory:, sqlite:///PATH and postgresql://USER@HOST/DATABASE"
    # Not the whole of it: a URL may hold a password.
    raise ConfigError(field="db_url", reason=f"{url.partition(':')[0]!r}: this version supports {supported}")


def check_space(name: str, policy: SpacePolicy) -> None:
    """ConfigError or UnsupportedError, if a node cannot keep a space of this name like this."""
    try:
        check_key(name)
    except InvalidKeyError as error:
        raise ConfigError(field=f"spaces.{name}", reason=error.reason) from None
    if "/" in name:
        raise ConfigError(field=f"spaces.{name}", reason="a space is the first segment of a key, without '/'")
    if policy.history_for is not None and policy.history == 0:
        reason = "it limits the age of old versions, and history = 0 keeps none"
        raise ConfigError(field=f"spaces.{name}.history_for", reason=reason)
    if policy.conflict not in CONFLICT_WORDS and not _FUNCTION_NAME.fullmatch(policy.conflict):
        known = ", ".join(CONFLICT_WORDS)
        reason = f"{policy.conflict!r} is none of {known}, and no module:function"
        raise ConfigError(field=f"spaces.{name}.conflict", reason=reason)
    unsupported = {
        "ttl": policy.ttl is not None,
        "encrypt": policy.encrypt,
    }
    for field, is_unsupported in unsupported.items():
        if is_unsupported:
            what = f"spaces.{name}.{field} = {getattr(policy, field)!r}"
            raise UnsupportedError(what=what, field=f"spaces.{name}.{field}")
