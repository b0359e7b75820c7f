"""Keeps this node's certificate fresh: takes one that was put beside its key, and asks for one in time.

A node that can issue renews itself. Others ask over the mesh: first whoever answered last, then all with whom
there is a link, then further members, a few at a time. Who cannot issue does not answer, so nobody needs to
know who can. A question is a message with a topic that no program can send; its sender is proven by the
link, or by its signature if a neighbour passed it on.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509

from bellande_mesh_sync.errors import BellandeMeshError
from bellande_mesh_sync.files import write_atomic
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.security.certificates import CertificateFault, load_pem, utc_now
from bellande_mesh_sync.security.identity import Identity, load_identity
from bellande_mesh_sync.security.issuing import issuing_certificate
from bellande_mesh_sync.security.lifetimes import renew_at, retry_after_s
from bellande_mesh_sync.security.renewing import checked_renewal, renewed

log = logging.getLogger("bellande_mesh_sync")

ASK: Final = "\0certificate/ask"
ANSWER: Final = "\0certificate/answer"
TOPICS: Final = frozenset((ASK, ANSWER))
"""Of the node itself: a program's topics have no control characters."""
LOOK_EVERY_S: Final = 30.0
ANSWER_S: Final = 5.0
FURTHER_AT_ONCE: Final = 16
FURTHER_MAX: Final = 64
"""Members without a link that one attempt asks."""
ASKED_MAX: Final = 256
"""Questions of others that wait here; a further one is dropped, and asked again later."""


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where this node's identity stands on disk."""

    folder: Path
    certificate: Path | None
    """As configured; None: in the folder. The same for the key."""
    key: Path | None
    signer_dir: Path
    """Where the key to sign others would be."""

    @property
    def certificate_path(self) -> Path:
        return self.certificate or self.folder / "node.crt"

    @property
    def is_renewable(self) -> bool:
        """A certificate that is kept elsewhere is its keeper's to renew."""
        return self.certificate is None


class Renewal:
    """
    Args:
        identity: who this node is now.
        use: takes a new certificate into use.
        send: a message to a node, or to all with a link (None). May raise errors of the tree.
        others: live members without a link.
        count: something happened once more.
    """

    def __init__(
        self, files: CertificateFiles, *, days: float,
        identity: Callable[[], Identity],
        use: Callable[[Identity], None],
        send: Callable[[NodeId | None, str, bytes], Awaitable[object]],
        others: Callable[[], Sequence[NodeId]],
        count: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._files = files
        self._days = days
        self._identity = identity
        self._use = use
        self._send = send
        self._others = others
        self._count = count
        self._random = random.SystemRandom()
        self._jitter = (0, 0.0)
        """For the certificate with this serial number."""
        self._failures = 0
        self._why = ""
        """Why this node, which holds a key to sign with, could not use it."""
        self._seen: bytes | None = None
        """The certificate file as it was last looked at."""
        self._last_issuer: NodeId | None = None
        self.issuing: x509.Certificate | None = None
        """This node's right to issue others, if it is an issuer."""
        self._answer: asyncio.Future[tuple[NodeId, Identity]] | None = None
        self._asked: asyncio.Queue[tuple[NodeId, bytes]] = asyncio.Queue(ASKED_MAX)
        self._tasks = [
            asyncio.create_task(self._keep_fresh(), name="bms-renewal"),
            asyncio.create_task(self._answer_others(), name="bms-issuing"),
        ]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def heard(self, sender: NodeId, topic: str, body: bytes) -> None:
        """A message with one of TOPICS."""
        if topic == ASK:
            try:
                self._asked.put_nowait((sender, body))
            except asyncio.QueueFull:
                self._count("renewals_dropped")
        elif self._answer is not None and not self._answer.done():
            try:
                self._answer.set_result((sender, checked_renewal(self._identity(), body, utc_now())))
            except CertificateFault as fault:
                self._count("renewals_unusable")
                log.warning("the certificate that node %s issued is of no use: %s", sender.hex(), fault)

    # -- our own

    async def _keep_fresh(self) -> None:
        while True:
            await self._look_at_file()
            wait_s = LOOK_EVERY_S
            if self._files.is_renewable:
                left_s = (self._due() - utc_now()).total_seconds()
                if left_s <= 0:
                    wait_s = min(wait_s, await self._renew())
                wait_s = min(wait_s, left_s) if left_s > 0 else wait_s
            await asyncio.sleep(wait_s)

    def _due(self) -> datetime.datetime:
        certificate = load_pem(self._identity().certificate_pem)
        if self._jitter[0] != certificate.serial_number:
            self._jitter = (certificate.serial_number, self._random.uniform(-1, 1))
        return renew_at(certificate, self._jitter[1])

    async def _renew(self) -> float:
        """Try once; seconds until the next look."""
        new = await self._issued_here() or await self._issued_elsewhere()
        if new is None:
            self._told_failure()
            return retry_after_s(load_pem(self._identity().certificate_pem), utc_now())
        await asyncio.to_thread(write_atomic, self._files.certificate_path, new.certificate_pem)
        self._failures = 0
        self._take(new, "was renewed")
        return 0.0

    async def _issued_here(self) -> Identity | None:
        own, self._why = self._identity(), ""
        try:
            pem = await asyncio.to_thread(self._issue, own.node, own.certificate_pem)
            return None if pem is None else checked_renewal(own, pem, utc_now())
        except (CertificateFault, BellandeMeshError) as error:
            self._why = str(error)
            return None

    async def _issued_elsewhere(self) -> Identity | None:
        self._answer = asyncio.get_running_loop().create_future()
        try:
            for targets in self._in_turn():
                await self._ask(targets)
                try:
                    async with asyncio.timeout(ANSWER_S):
                        self._last_issuer, new = await asyncio.shield(self._answer)
                    return new
                except TimeoutError:
                    continue
            return None
        finally:
            self._answer.cancel()
            self._answer = None

    def _in_turn(self) -> list[list[NodeId | None]]:
        further = list(self._others())
        self._random.shuffle(further)
        del further[FURTHER_MAX:]
        turns: list[list[NodeId | None]] = [[self._last_issuer]] if self._last_issuer else []
        turns.append([None])
        turns += [
            [*further[start : start + FURTHER_AT_ONCE]] for start in range(0, len(further), FURTHER_AT_ONCE)
        ]
        return turns

    async def _ask(self, targets: Sequence[NodeId | None]) -> None:
        chain = self._identity().certificate_pem
        for target in targets:
            try:
                await self._send(target, ASK, chain)
            except BellandeMeshError as error:
                log.debug("no certificate can be asked of %s: %s", target and target.hex(), error)

    def _told_failure(self) -> None:
        self._failures += 1
        self._count("renewals_failed")
        if self._failures & (self._failures - 1) == 0:
            end = self._identity().not_after
            why = self._why or "nobody who can do it answers"
            log.warning("the certificate, which ends at %s, was not renewed: %s", end.isoformat(), why)

    # -- the file

    async def _look_at_file(self) -> None:
        """Take what somebody put there, by `bms accept` or otherwise."""
        self.issuing = await asyncio.to_thread(issuing_certificate, self._files.signer_dir)
        try:
            content = await asyncio.to_thread(self._files.certificate_path.read_bytes)
        except OSError as error:
            log.debug("the certificate's file cannot be looked at: %s", error)
            return
        if content == self._seen:
            return
        is_first, self._seen = self._seen is None, content
        own = self._identity()
        if content == own.certificate_pem:
            return
        try:
            new = await asyncio.to_thread(
                load_identity, self._files.folder, certificate_path=self._files.certificate,
                key_path=self._files.key,
            )  # fmt: skip
            if new.node != own.node:
                raise CertificateFault("it is another node's; that takes a restart")
        except (CertificateFault, BellandeMeshError) as error:
            log.error("the new certificate in %s is not used: %s", self._files.certificate_path, error)
            return
        if not is_first or new.not_after > own.not_after:
            self._take(new, "was put there")

    def _take(self, new: Identity, how: str) -> None:
        self._use(new)
        self._seen = new.certificate_pem
        self._count("certificates_renewed")
        log.info("this node's certificate %s; it ends at %s", how, new.not_after.isoformat())

    # -- those of others

    async def _answer_others(self) -> None:
        while True:
            sender, chain = await self._asked.get()
            try:
                pem = await asyncio.to_thread(self._issue, sender, chain)
                if pem is not None:
                    await self._send(sender, ANSWER, pem)
                    self._count("renewals_granted")
            except (CertificateFault, BellandeMeshError) as error:
                self._count("renewals_refused")
                log.warning("no certificate for node %s: %s", sender.hex(), error)

    def _issue(self, node: NodeId, chain: bytes) -> bytes | None:
        authority_pem = self._identity().authority_pem
        return renewed(node, chain, self._files.signer_dir, authority_pem, days=self._days, now=utc_now())
