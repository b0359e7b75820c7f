"""The calls of `Mesh` about certificates: its own kept fresh, those it knows of listed, any one judged."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from typing import Any

from bellande_mesh_sync.config import Settings
from bellande_mesh_sync.core import effects as do
from bellande_mesh_sync.core import events as on
from bellande_mesh_sync.errors import UsageError
from bellande_mesh_sync.home import Home
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.security.certificates import load_bundle, load_pem, utc_now
from bellande_mesh_sync.security.identity import Identity
from bellande_mesh_sync.security.inspection import PEM_BYTES_MAX, check_of, health_of, view_of
from bellande_mesh_sync.shell.assembly import Assembly
from bellande_mesh_sync.shell.renewal import TOPICS, CertificateFiles, Renewal
from bellande_mesh_sync.values import CertificateCheck, CertificateView


class CertificateCalls(ABC):
    """What a program asks a node about certificates, and how the node keeps its own."""

    settings: Settings
    _identity: Identity | None

    _renewal: Renewal | None = None

    @abstractmethod
    def _alive(self) -> Assembly:
        """The node; NotRunningError if it does not run."""

    @abstractmethod
    def _started(self) -> Assembly:
        """The node, also while it is starting or stopping; NotRunningError if it does neither."""

    @property
    @abstractmethod
    def identity(self) -> Identity:
        """Who this node is; NotRunningError before its first start."""

    @abstractmethod
    def _show_over_https(self, identity: Identity) -> None:
        """The certificate that HTTPS clients see from now on."""

    # -- looking

    async def certificates(self) -> list[CertificateView]:
        """This node's own certificate, its right to issue if it has one, the authority's; and those that the
        peers it is linked with showed."""
        node = self._alive()
        files, now = self._certificate_files(node), utc_now()
        peers = [view_of(shown, "peer", now, is_renewed=True) for shown in node.runner.links.certificates()]
        own = load_pem(self.identity.certificate_pem)
        found = [view_of(own, "this node", now, is_renewed=files.is_renewable)]
        if self._renewal is not None and self._renewal.issuing is not None:
            found.append(view_of(self._renewal.issuing, "issuer", now))
        found += [view_of(each, "authority", now) for each in load_bundle(self.identity.authority_pem)]
        return found + sorted(peers, key=lambda view: (view.name, view.node))

    async def validate_certificate(self, pem: bytes | str) -> CertificateCheck:
        """What is wrong with a certificate as one of a member of this mesh, and by how much.

        Args:
            pem: the certificate, and behind it that of its issuer if that is not the authority.

        Raises:
            UsageError: it is larger than any.
        """
        content = pem.encode() if isinstance(pem, str) else bytes(pem)
        if len(content) > PEM_BYTES_MAX:
            raise UsageError(reason=f"a certificate takes at most {PEM_BYTES_MAX} bytes")
        return check_of(content, load_bundle(self.identity.authority_pem), utc_now())

    def _certificate_health(self) -> dict[str, Any]:
        issuing = self._renewal.issuing if self._renewal is not None else None
        return health_of(load_pem(self.identity.certificate_pem), issuing, utc_now())

    # -- keeping one's own

    def _start_renewal(self, node: Assembly) -> None:
        self._renewal = Renewal(
            self._certificate_files(node),
            days=self.settings.certificate_days,
            identity=lambda: self.identity,
            use=self._use_identity,
            send=self._send_for_certificate,
            others=self._unlinked,
            count=node.runner.count,
        )

    async def _stop_renewal(self) -> None:
        if self._renewal is not None:
            await self._renewal.close()
            self._renewal = None

    def _certificate_files(self, node: Assembly) -> CertificateFiles:
        folder, settings = node.ground.identity_dir, self.settings
        signer_dir = Home.dev_path() if settings.dev_mode else folder
        return CertificateFiles(folder, settings.cert_path, settings.key_path, signer_dir)

    def _use_identity(self, identity: Identity) -> None:
        """For new connections; open ones go on."""
        node = self._started()
        self._identity = node.ground.identity = identity
        node.runner.links.use(identity)
        self._show_over_https(identity)

    async def _send_for_certificate(self, to: NodeId | None, topic: str, body: bytes) -> None:
        identifier = secrets.token_bytes(16)
        await self._started().runner.ask(lambda request: on.SendNote(request, to, topic, body, identifier))

    def _unlinked(self) -> list[NodeId]:
        core = self._started().core
        live, _ = core.directory.live_and_dead()
        return [record.node for record in live if core.links.to(record.node) is None]

    def _is_about_certificates(self, effect: do.Deliver) -> bool:
        """Whether a message is the node's own, and was taken care of."""
        if effect.topic not in TOPICS:
            return False
        if self._renewal is not None:
            self._renewal.heard(effect.sender, effect.topic, effect.body)
        return True
