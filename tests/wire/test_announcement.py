"""Whatever is said on the local network becomes a place to dial, or nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellande_mesh_sync.core.events import Found
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.wire.announcement import (
    ADDRESSES_MAX,
    SERVICE_TYPE,
    announced_text,
    instance_label,
    is_of_mesh,
    mesh_tag,
    read_announcement,
)

MESH, OTHER_MESH = b"m" * 32, b"o" * 32
TAG = mesh_tag(MESH)
NODE = NodeId(bytes(range(32)))
TEXT: dict[bytes, bytes | None] = {
    name.encode(): value.encode() for name, value in announced_text(TAG, NODE).items()
}


def read(
    text: dict[bytes, bytes | None] = TEXT,
    port: int | None = 8000,
    hosts: tuple[str, ...] = ("10.0.0.7",),
    is_loopback: bool = False,
) -> Found | None:
    return read_announcement(TAG, text, port, hosts, is_loopback=is_loopback)


def test_what_a_node_announces_is_read_back() -> None:
    assert read(hosts=("10.0.0.7", "fd00::7", "169.254.3.4")) == Found(
        NODE, ("10.0.0.7:8000", "[fd00::7]:8000", "169.254.3.4:8000")
    )


def test_an_announcement_does_not_tell_the_mesh_id_or_a_name() -> None:
    said = f"{instance_label(TAG, NODE)} {announced_text(TAG, NODE)}"
    assert MESH.hex()[:8] not in said
    assert set(announced_text(TAG, NODE)) == {"mesh", "node"}
    assert len(TAG) == 16


def test_a_service_says_in_its_name_of_which_mesh_it_is() -> None:
    name = f"{instance_label(TAG, NODE)}.{SERVICE_TYPE}"
    assert is_of_mesh(name, TAG)
    assert not is_of_mesh(name, mesh_tag(OTHER_MESH))
    for wrong in (name.upper(), f"x{name}", name + "x", f"{TAG}.{SERVICE_TYPE}", SERVICE_TYPE, ""):
        assert not is_of_mesh(wrong, TAG)


@pytest.mark.parametrize(
    "text",
    [
        {},
        {b"mesh": TAG.encode()},
        {b"mesh": TAG.encode(), b"node": None},
        {b"mesh": TAG.encode(), b"node": b""},
        {b"mesh": TAG.encode(), b"node": NODE.hex().encode()[:-1]},
        {b"mesh": TAG.encode(), b"node": NODE.hex().encode() + b"0"},
        {b"mesh": TAG.encode(), b"node": NODE.hex().upper().encode()},
        {b"mesh": TAG.encode(), b"node": b"\xff" * 64},
        {b"mesh": TAG.encode(), b"node": NODE.hex().encode() + b"\n"},
        {b"mesh": None, b"node": NODE.hex().encode()},
        {b"mesh": TAG.encode()[:15], b"node": NODE.hex().encode()},
        {b"mesh": mesh_tag(OTHER_MESH).encode(), b"node": NODE.hex().encode()},
    ],
)
def test_a_text_that_is_not_a_members_is_no_candidate(text: dict[bytes, bytes | None]) -> None:
    assert read(text) is None


@pytest.mark.parametrize("port", [None, 0, -1, 65_536])
def test_a_port_that_cannot_be_dialled_is_no_candidate(port: int | None) -> None:
    assert read(port=port) is None


@pytest.mark.parametrize(
    "host",
    ["", "host.example", "127.0.0.1", "::1", "0.0.0.0", "::", "224.0.0.251", "ff02::fb", "255.255.255.255",
     "240.0.0.1", "fe80::1", "fe80::1%eth0", "::ffff:127.0.0.1", "10.0.0.7:22", "1" * 1000],
)  # fmt: skip
def test_an_address_that_nobody_on_the_network_has_is_left_out(host: str) -> None:
    assert read(hosts=(host,)) is None
    assert read(hosts=(host, "10.0.0.7")) == Found(NODE, ("10.0.0.7:8000",))


def test_a_node_on_loopback_takes_loopback_addresses_and_no_others() -> None:
    found = read(hosts=("10.0.0.7", "127.0.0.1", "::1"), is_loopback=True)
    assert found == Found(NODE, ("127.0.0.1:8000", "[::1]:8000"))


def test_no_announcement_has_more_than_eight_addresses() -> None:
    found = read(hosts=tuple(f"10.0.{low}.7" for low in range(200)))
    assert found is not None
    assert len(found.addresses) == ADDRESSES_MAX


_BYTES = st.binary(max_size=100)


@given(
    st.dictionaries(
        st.sampled_from([b"mesh", b"node", b"x"]) | _BYTES, st.none() | st.just(TAG.encode()) | _BYTES
    ),
    st.none() | st.integers(),
    st.lists(st.text(max_size=50) | st.ip_addresses().map(str), max_size=20),
    st.booleans(),
)
def test_any_announcement_is_read_or_ignored(
    text: dict[bytes, bytes | None], port: int | None, hosts: list[str], is_loopback: bool
) -> None:
    read(text, port, tuple(hosts), is_loopback)
    found = read(TEXT, port, tuple(hosts), is_loopback)
    assert found is None or 0 < len(found.addresses) <= ADDRESSES_MAX
