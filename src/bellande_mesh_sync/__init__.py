"""Bellande Mesh Sync: a fleet of machines shares state with no server in the middle."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bellande_mesh_sync.config import Config, MeshOptions, SpacePolicy
    from bellande_mesh_sync.errors import BellandeMeshError
    from bellande_mesh_sync.functions import (
        broadcast,
        broadcast_message,
        broadcast_new_node,
        cleanup_data,
        cleanup_dead_nodes,
        find_closest_nodes,
        find_nearest_nodes,
        get_active_nodes,
        get_local_id,
        get_node_count,
        get_node_list,
        get_node_port,
        get_nodes,
        get_nodes_paginated,
        get_stats,
        get_status,
        handle_join_request,
        init,
        init_with_options,
        is_node_connected,
        is_running,
        register_node,
        remove_node,
        restore_nodes,
        retrieve_data,
        rotate_keys,
        send_message,
        send_to_node,
        set_max_connections,
        shutdown,
        sleep,
        start,
        stop,
        store_data,
        subscribe,
        topology,
        update_node,
        validate_certificate,
        verify_data,
        wake,
        why,
    )
    from bellande_mesh_sync.mesh import Mesh
    from bellande_mesh_sync.values import (
        CertificateCheck,
        CertificateView,
        Change,
        DamagedValue,
        Entry,
        Explanation,
        Listing,
        MeshMessage,
        NodeView,
        Receipt,
        Stats,
        Status,
        SweepReport,
        Topology,
        Value,
        VerifyProgress,
        VerifyReport,
    )

__all__ = [
    "BellandeMeshError",
    "CertificateCheck",
    "CertificateView",
    "Change",
    "Config",
    "DamagedValue",
    "Entry",
    "Explanation",
    "KeyPlacement",
    "Listing",
    "Mesh",
    "MeshMessage",
    "MeshOptions",
    "NodeShare",
    "NodeView",
    "Receipt",
    "SpacePlacement",
    "SpacePolicy",
    "Stats",
    "Status",
    "SweepReport",
    "Topology",
    "Value",
    "VerifyProgress",
    "VerifyReport",
    "broadcast",
    "broadcast_message",
    "broadcast_new_node",
    "cleanup_data",
    "cleanup_dead_nodes",
    "find_closest_nodes",
    "find_nearest_nodes",
    "get_active_nodes",
    "get_local_id",
    "get_node_count",
    "get_node_list",
    "get_node_port",
    "get_nodes",
    "get_nodes_paginated",
    "get_stats",
    "get_status",
    "handle_join_request",
    "init",
    "init_with_options",
    "is_node_connected",
    "is_running",
    "register_node",
    "remove_node",
    "replicate_data",
    "restore_nodes",
    "retrieve_data",
    "rotate_keys",
    "send_message",
    "send_to_node",
    "set_max_connections",
    "shutdown",
    "sleep",
    "start",
    "stop",
    "store_data",
    "subscribe",
    "sync_with_peers",
    "topology",
    "update_node",
    "validate_certificate",
    "verify_data",
    "wake",
    "why",
]

# Loaded when first asked for: the command line's help must not wait for TLS, HTTP and asyncio. The
# light rooms come first, so that asking for a setting or an error loads nothing heavy.
_ROOMS = ("config", "errors", "values", "mesh", "functions")


def __getattr__(name: str) -> Any:
    if name in __all__:
        for room in _ROOMS:
            module = importlib.import_module(f"bellande_mesh_sync.{room}")
            if hasattr(module, name):
                return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
