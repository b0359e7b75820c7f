"""Certificates that live for seconds, on real nodes: renewed in time, or told and turned away."""

from __future__ import annotations

import asyncio
import datetime
import logging
import ssl
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bellande_mesh_sync import Config, Mesh, MeshOptions, init_with_options, validate_certificate
from bellande_mesh_sync.addresses import parse_address
from bellande_mesh_sync.errors import UsageError
from bellande_mesh_sync.files import write_atomic
from bellande_mesh_sync.home import Home
from bellande_mesh_sync.security.authority import Authority, found_mesh, new_member
from bellande_mesh_sync.security.certificates import load_bundle, load_pem
from bellande_mesh_sync.security.identity import new_key, public_bytes, save_identity
from bellande_mesh_sync.security.issuing import appoint
from bellande_mesh_sync.shell import renewal
from tests.mesh.conftest import eventually, linked

DAY_S = 86_400
SHORT_S = 9.0


class Harbour:
    """A mesh whose homes are made by hand, so that their certificates can be as short as a test is."""

    def __init__(self, exits: AsyncExitStack, folder: Path) -> None:
        self._exits = exits
        self._folder = folder
        self.authority, self._founder = found_mesh("harbour", "founder")

    def home(self, name: str, *, life_s: float = 30 * DAY_S) -> Home:
        home = Home(self._folder / name)
        home.create()
        identity = self._founder
        if name == "founder":
            self.authority.save(home.identity_dir)
        else:
            identity = new_member(self.authority, name, role="writer", days=life_s / DAY_S)
        save_identity(identity, home.identity_dir)
        return home

    def issuer(self, name: str) -> Home:
        home, key = self.home(name), new_key()
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_atomic(home.identity_dir / "issuer.key", private)
        write_atomic(home.identity_dir / "issuer.crt", appoint(self.authority, public_bytes(key), name=name))
        return home

    async def node(self, home: Home, *friends: Mesh, life_s: float = SHORT_S, **options: Any) -> Mesh:
        bootstrap = tuple([(await friend.status()).tcp for friend in friends])
        config = Config(name=home.path.name, listen_address="127.0.0.1:0", bootstrap_nodes=bootstrap)
        wish = {"persistence_path": str(home.path), "enable_discovery": False, **options}
        mesh = await init_with_options(config, MeshOptions(certificate_days=life_s / DAY_S, **wish))
        await mesh.start()
        self._exits.push_async_callback(mesh.stop)
        return mesh


Scenario = Callable[[Harbour], Awaitable[None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Scenario], None]:
    def run(scenario: Scenario) -> None:
        async def scene() -> None:
            async with AsyncExitStack() as exits:
                await scenario(Harbour(exits, tmp_path))

        asyncio.run(scene())

    return run


def serial(mesh: Mesh) -> int:
    return load_pem(mesh.identity.certificate_pem).serial_number


async def outlives(mesh: Mesh) -> None:
    """Until the certificate that it started with is over."""
    end = load_pem(mesh.identity.certificate_pem).not_valid_after_utc + datetime.timedelta(seconds=1)
    await eventually(lambda: _is_past(end), 60)


async def _is_past(moment: datetime.datetime) -> bool:
    return datetime.datetime.now(datetime.UTC) > moment


async def renewed(mesh: Mesh, before: int) -> None:
    async def changed() -> bool:
        return serial(mesh) != before

    await eventually(changed, 60)


def test_a_member_is_renewed_over_its_links_and_outlives_its_first_certificate(play: Any) -> None:
    async def scenario(harbour: Harbour) -> None:
        founder = await harbour.node(harbour.home("founder"))
        home = harbour.home("crane", life_s=SHORT_S)
        crane = await harbour.node(home, founder)
        await linked(founder, crane)
        first, ended = serial(crane), asyncio.ensure_future(outlives(crane))
        links = [link["link"] for link in founder._alive().runner.links.info()]
        await renewed(crane, first)
        assert [link["link"] for link in founder._alive().runner.links.info()] == links, "none was dropped"
        assert load_pem((home.identity_dir / "node.crt").read_bytes()).serial_number == serial(crane)
        await ended
        await linked(founder, crane)
        await founder.put("fleet/k", b"v", ack="all", timeout=20)
        assert (await crane.get("fleet/k")).data == b"v"
        assert (await crane.stats()).counters["certificates_renewed"] >= 1
        assert (await founder.stats()).counters["renewals_granted"] >= 1

    play(scenario)


def test_an_issuer_renews_while_the_authority_is_away(play: Any) -> None:
    async def scenario(harbour: Harbour) -> None:
        issuer = await harbour.node(harbour.issuer("issuer"))
        crane = await harbour.node(harbour.home("crane", life_s=SHORT_S), issuer)
        await linked(issuer, crane)
        first, ended = serial(crane), asyncio.ensure_future(outlives(crane))
        await renewed(crane, first)
        assert len(load_bundle(crane.identity.certificate_pem)) == 2
        await ended
        await linked(issuer, crane)
        await crane.put("fleet/k", b"v", ack="all", timeout=20)

    play(scenario)


def test_a_node_that_can_issue_renews_itself(play: Any) -> None:
    async def scenario(harbour: Harbour) -> None:
        home = harbour.home("founder")
        short = new_member(harbour.authority, "founder", role="admin", days=SHORT_S / DAY_S)
        save_identity(short, home.identity_dir)
        founder = await harbour.node(home, life_s=30 * DAY_S)
        await renewed(founder, load_pem(short.certificate_pem).serial_number)
        assert founder.identity.not_after - short.not_after > datetime.timedelta(days=29)

    play(scenario)


def test_a_member_that_nobody_renews_is_turned_away_when_its_time_is_over(
    play: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(harbour: Harbour) -> None:
        other = await harbour.node(harbour.home("other"))
        crane = await harbour.node(harbour.home("crane", life_s=SHORT_S), other)
        await linked(other, crane)
        await outlives(crane)

        async def is_alone() -> bool:
            return not other._alive().runner.links.info() and not crane._alive().runner.links.info()

        await eventually(is_alone)
        await crane.put("fleet/k", b"v")
        assert (await crane.get("fleet/k")).data == b"v", "alone it goes on"

        async def is_refused() -> bool:
            return any("expired" in reason for _, _, reason in other._alive().runner.links.recent_refusals)

        await eventually(is_refused)

        async def has_given_up() -> bool:
            return "renewals_failed" in (await crane.stats()).counters

        await eventually(has_given_up)

    with caplog.at_level(logging.WARNING, "bellande_mesh_sync"):
        play(scenario)
    said = [record.getMessage() for record in caplog.records]
    assert any("was not renewed: nobody who can do it answers" in line for line in said), said
    assert any("refused our certificate: the certificate expired" in line for line in said), said


def test_a_certificate_that_is_put_there_is_used_without_a_restart(
    play: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(renewal, "LOOK_EVERY_S", 0.1)

    async def scenario(harbour: Harbour) -> None:
        home = harbour.home("crane")
        crane = await harbour.node(home)
        new = harbour.authority.issue(crane.identity.public_key, name="crane", role="writer", days=50)
        path = home.identity_dir / "node.crt"
        write_atomic(path, b"-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n")
        await eventually(lambda: _said(caplog, "is not used"))
        stranger = new_member(harbour.authority, "stranger", role="writer")
        write_atomic(path, stranger.certificate_pem)
        await eventually(lambda: _said(caplog, "another private key"))
        write_atomic(path, new)
        await renewed(crane, serial(crane))
        assert crane.identity.certificate_pem == new
        assert await asyncio.to_thread(_shown_over_https, (await crane.status()).https) == new

    play(scenario)


async def _said(caplog: pytest.LogCaptureFixture, words: str) -> bool:
    return any(words in record.getMessage() for record in caplog.records)


def _shown_over_https(address: str) -> bytes:
    host, port = parse_address(address)
    return ssl.get_server_certificate((host, port)).encode()


def test_a_node_started_after_its_end_says_by_how_much(play: Any) -> None:
    async def scenario(harbour: Harbour) -> None:
        home = harbour.home("crane", life_s=1.0)
        end = load_pem((home.identity_dir / "node.crt").read_bytes()).not_valid_after_utc
        await eventually(lambda: _is_past(end + datetime.timedelta(seconds=1)))
        with pytest.raises(Exception, match=r"node\.crt: the certificate expired"):
            await harbour.node(home)

    play(scenario)


def test_programs_cannot_ask_in_the_nodes_name(play: Any) -> None:
    async def scenario(harbour: Harbour) -> None:
        crane = await harbour.node(harbour.home("crane"))
        for topic in renewal.TOPICS:
            with pytest.raises(Exception, match="control character"):
                await crane.publish(topic, b"x")

    play(scenario)


def test_a_node_lists_what_it_holds_and_sees_and_judges_any_other(play: Any) -> None:
    async def scenario(harbour: Harbour) -> None:
        issuer = await harbour.node(harbour.issuer("issuer"), life_s=30 * DAY_S)
        crane = await harbour.node(harbour.home("crane"), issuer, life_s=30 * DAY_S)
        await linked(issuer, crane)

        async def holds_its_right() -> bool:
            return len(await issuer.certificates()) == 4

        await eventually(holds_its_right)
        views = await issuer.certificates()
        assert [view.of for view in views] == ["this node", "issuer", "authority", "peer"]
        assert (views[3].name, views[3].node) == ("crane", crane.node_id)
        assert [view.renewed for view in views] == [True, False, False, True]
        found = await validate_certificate(crane, issuer.identity.certificate_pem)
        assert (found.ok, found.faults) == (True, ())
        stranger = new_member(Authority.create("harbour"), "crane", role="admin")
        found = await validate_certificate(crane, stranger.certificate_pem)
        assert not found.ok
        assert "another mesh" in found.faults[0]
        with pytest.raises(UsageError, match="at most 65536 bytes"):
            await crane.validate_certificate(b"x" * 70_000)
        assert crane.health()["certificate"]["ok"] is True
        left_s = (await crane.stats()).gauges["certificate_left_s"]
        assert left_s == pytest.approx(30 * DAY_S, abs=60)

    play(scenario)


def test_a_certificate_from_elsewhere_is_used_and_replaced_by_its_keeper_alone(
    play: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "LOOK_EVERY_S", 0.1)

    async def scenario(harbour: Harbour) -> None:
        founder = await harbour.node(harbour.home("founder"))
        home = harbour.home("crane", life_s=SHORT_S)
        kept = home.path.parent / "kept"
        kept.mkdir()
        for name in ("node.crt", "node.key"):
            (home.identity_dir / name).rename(kept / name)
        options: dict[str, Any] = {"cert_path": str(kept / "node.crt"), "key_path": str(kept / "node.key")}
        crane = await harbour.node(home, founder, **options)
        await linked(founder, crane)
        assert [view.renewed for view in await crane.certificates()][:2] == [False, False]
        before = crane.identity
        # Well past the time at which the node would have asked for one of its own.
        due = before.not_after - datetime.timedelta(seconds=1)
        await eventually(lambda: _is_past(due))
        assert crane.identity == before
        new = harbour.authority.issue(before.public_key, name="crane", role="writer", days=1)
        write_atomic(kept / "node.crt", new)
        await renewed(crane, load_pem(before.certificate_pem).serial_number)
        assert not (home.identity_dir / "node.crt").exists()
        await linked(founder, crane)

    play(scenario)
