"""Everything a node needs before its core can live: home, identity, store, its addresses."""

from __future__ import annotations

import contextlib
import secrets
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from bellande_mesh_sync.config import Settings
from bellande_mesh_sync.config_history import histories_of
from bellande_mesh_sync.config_model import CONFLICT_WORDS
from bellande_mesh_sync.config_placement import placed_spaces
from bellande_mesh_sync.core.config import CoreConfig
from bellande_mesh_sync.core.members.swim.config import PROFILES
from bellande_mesh_sync.errors import NotAMemberError
from bellande_mesh_sync.home import Home, HomeLock
from bellande_mesh_sync.ids import EPOCH_BYTES
from bellande_mesh_sync.security.authority import dev_identity, found_mesh
from bellande_mesh_sync.security.identity import Identity, has_identity, load_identity, save_identity
from bellande_mesh_sync.shell.own_addresses import reached_at
from bellande_mesh_sync.store.engines import open_engine
from bellande_mesh_sync.store.interface import Store

SECOND_NS = 1_000_000_000


@dataclass(slots=True)
class Ground:
    """What a started node stands on. `leave` gives it all back."""

    identity: Identity
    identity_dir: Path
    admin_token: str
    store: Store
    lock: HomeLock | None
    _exits: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def leave(self) -> None:
        self._exits.close()


def new_epoch() -> bytes:
    return secrets.token_bytes(EPOCH_BYTES)


def prepare(settings: Settings) -> Ground:
    """Lock the home, load or make the identity, choose the store. Blocking.

    A node without persistence founds a mesh of its own that nothing is kept of, unless its home
    holds an identity or it is told whom to join.

    Raises:
        HomeInUseError, NotAMemberError, IdentityError, ConfigError: nothing is held then.
    """
    with contextlib.ExitStack() as exits:
        home = Home(settings.home) if settings.home is not None else None
        uses_home = home is not None and (settings.persistence or has_identity(home.identity_dir))
        lock = None
        if home is not None and uses_home:
            lock = home.lock()
            exits.callback(lock.release)
            identity_dir = home.identity_dir
            admin_token = home.admin_token()
        else:
            identity_dir = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="bms-node-")))
            admin_token = secrets.token_urlsafe(32)
        identity = _identity(settings, identity_dir)
        store = open_engine(
            settings.db_url,
            data_dir=home.data_dir if home else None,
            chunks_dir=home.chunks_dir if home else None,
            new_epoch=new_epoch,
            node=identity.node.hex(),
            mesh=identity.mesh_id.hex(),
        )
        return Ground(identity, identity_dir, admin_token, store, lock, exits.pop_all())


def _identity(settings: Settings, identity_dir: Path) -> Identity:
    if settings.dev_mode:
        return dev_identity(Home.dev_path(), settings.name, identity_dir)
    if settings.cert_path is not None or has_identity(identity_dir):
        return load_identity(
            identity_dir, certificate_path=settings.cert_path, key_path=settings.key_path
        )  # fmt: skip
    if settings.bootstrap:
        # Told to call others but let in by nobody: founding another mesh would be a silent surprise.
        raise NotAMemberError(home=str(identity_dir.parent))
    authority, identity = found_mesh(settings.name, settings.name)
    authority.save(identity_dir)
    save_identity(identity, identity_dir)
    return identity


def core_config(settings: Settings) -> CoreConfig:
    """The core's settings, in its units."""
    node_timeout_ns = round(settings.node_timeout_s * SECOND_NS)
    return CoreConfig(
        node_timeout_ns=node_timeout_ns,
        ping_interval_ns=min(5 * SECOND_NS, max(SECOND_NS // 10, node_timeout_ns // 4)),
        sync_interval_ns=round(settings.sync_interval_s * SECOND_NS),
        clock_drift_max_ms=round(settings.max_clock_drift_s * 1000),
        connections_max=settings.max_connections,
        swim=PROFILES[settings.profile],
        rebalance_after_ns=round(settings.rebalance_after_s * SECOND_NS),
        rebalance_bytes_per_s=settings.rebalance_bytes_per_s,
        placed=placed_spaces(settings.spaces),
        history=histories_of(settings.spaces),
        conflicts=tuple(
            (space, policy.conflict)
            for space, policy in sorted(settings.spaces.items())
            if policy.conflict in CONFLICT_WORDS and policy.conflict != "lww"
        ),
    )


def advertised(settings: Settings, bound_host: str, bound_port: int) -> tuple[str, ...]:
    """Where others can dial us: as configured, else what we listen on."""
    return settings.advertise or reached_at(bound_host, bound_port)
