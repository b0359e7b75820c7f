"""Reservations over the data of a mesh: a robot moves only in a tube that most voters have granted to it.

Under a prefix lie `claims/ID`, written by who claims, and `votes/NODE`, written by that voter. There is no
scheduler: each voter decides by itself (`ballots`), and the mesh carries the records.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import Final, Protocol

import msgspec

from bellande_mesh_sync.errors import BusyError, NotFoundError, ReservedError, UsageError
from bellande_mesh_sync.together.ballots import (
    CLAIMS_MAX,
    PENDING_MS_MAX,
    Ballot,
    Claim,
    fence_of,
    is_over,
    must_yield,
    voted,
)
from bellande_mesh_sync.together.tubes import Tube, check_tube
from bellande_mesh_sync.values import Change, Listing, Receipt, Value

CLOCK_MARGIN_MS: Final = 2_000
LOOK_EVERY_S: Final = 0.5
"""Besides what the mesh tells: claims end by the clock as well."""
PAGE: Final = 500


class Watch(Protocol):
    def __aiter__(self) -> AsyncIterator[Change]: ...

    def close(self) -> object: ...


class MeshCalls(Protocol):
    """What is asked of a mesh."""

    @property
    def node_id(self) -> str: ...

    async def get(self, key: str) -> Value: ...

    async def put(self, key: str, value: bytes, *, ack: str | None = None) -> Receipt: ...

    async def list(self, prefix: str = "", *, limit: int = ..., cursor: str = "") -> Listing: ...

    async def delete(self, key: str) -> Receipt: ...

    def watch(self, prefix: str = "") -> Watch: ...


class Reservation(msgspec.Struct, frozen=True):
    """A tube that is this robot's. Give `fence` along with every command that acts on it."""

    id: str
    robot: str
    tube: Tube
    fence: int


class Reservations:
    """One node's part: it votes, if it is a voter, and claims for its robots. Use it as `async with`.

    Args:
        voters: node ids, the same on all nodes, and fixed for as long as there are claims.
        clock_ms: milliseconds since 1970.
        margin_ms: by how much the clocks of two nodes may differ.
    """

    def __init__(
        self,
        mesh: MeshCalls,
        prefix: str,
        voters: Sequence[str],
        *,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        margin_ms: int = CLOCK_MARGIN_MS,
        seed: int | None = None,
    ) -> None:
        if not voters or len(set(voters)) != len(voters):
            raise UsageError(reason="reservations need voters, each once")
        self._mesh = mesh
        self._prefix = prefix.rstrip("/")
        self._voters = tuple(voters)
        self._clock_ms = clock_ms
        self._margin_ms = margin_ms
        self._rng = random.Random(seed)
        self._claims: dict[str, Claim] = {}
        self._ballots: dict[str, Ballot] = {}
        self._changed = asyncio.Condition()
        self._tasks: list[asyncio.Task[None]] = []
        self._count = 0

    async def __aenter__(self) -> Reservations:
        watch = self._mesh.watch(f"{self._prefix}/")
        await self._read_all()
        self._tasks = [asyncio.ensure_future(self._follow(watch)), asyncio.ensure_future(self._tend())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- claiming

    async def reserve(self, robot: str, tube: Tube, *, timeout: float = 10.0) -> Reservation:
        """Claim a tube; returns once most voters have granted it, each of which is on that voter's disk.

        Raises:
            ReservedError: another claim has it, or there was no majority in time. The claim is withdrawn:
                choose another tube, or delay this one, and try again.
            BusyError: there are too many claims.
        """
        now_ms = self._clock_ms()
        self._count += 1
        name = f"{now_ms:013d}-{self._mesh.node_id[:16]}-{self._count}-{self._rng.getrandbits(32):08x}"
        claim = Claim(name, robot, now_ms, check_tube(tube))
        if tube.from_ms < now_ms:
            raise UsageError(reason="the tube begins in the past")
        if not 0 < timeout * 1000 <= PENDING_MS_MAX:
            raise UsageError(reason=f"the timeout must be above 0 and at most {PENDING_MS_MAX // 1000} s")
        if len(self.claims()) >= CLAIMS_MAX:
            raise BusyError(what="the list of claims", limit=f"{CLAIMS_MAX} at a time")
        try:
            async with asyncio.timeout(timeout):
                await self._put_claim(claim)
                fence = await self._granted(claim)
                confirmed = msgspec.structs.replace(claim, state="confirmed", fence=fence)
                await self._put_claim(confirmed)
        except BaseException as error:  # Also a cancellation: the claim must not stay.
            # If it cannot be withdrawn, it holds its tube until that is over.
            await asyncio.shield(self._withdraw(claim))
            if isinstance(error, TimeoutError):
                raise ReservedError(reason=f"no majority of the voters in {timeout:g} s") from None
            raise
        if self._clock_ms() > tube.from_ms:
            await self._withdraw(confirmed)
            raise ReservedError(reason="it took until after the beginning of the tube")
        return Reservation(claim.id, robot, tube, fence)

    async def release(self, reservation: Reservation) -> None:
        """The robot has left the tube, and will not act on it any more."""
        claim = self._claims.get(reservation.id)
        if claim is not None:
            await self._withdraw(msgspec.structs.replace(claim, fence=reservation.fence))

    def claims(self) -> list[Claim]:
        """All that are not over, as this node knows them, to plan around."""
        now_ms = self._clock_ms()
        return [each for each in self._claims.values() if not is_over(each, now_ms, self._margin_ms)]

    async def _granted(self, claim: Claim) -> int:
        """Its fence, once more than half have granted it. ReservedError if another one goes first."""
        while True:
            ballots = [self._ballots[voter] for voter in self._voters if voter in self._ballots]
            if fence := fence_of(claim.id, ballots, len(self._voters)):
                return fence
            other = must_yield(claim, self._claims, self._clock_ms(), self._margin_ms)
            if other is not None:
                raise ReservedError(reason=f"robot {other.robot} has claimed a place on the way then")
            await self._wait()

    async def _withdraw(self, claim: Claim) -> None:
        await self._put_claim(msgspec.structs.replace(claim, state="released"))

    async def _put_claim(self, claim: Claim) -> None:
        self._claims[claim.id] = claim
        await self._mesh.put(f"{self._prefix}/claims/{claim.id}", msgspec.json.encode(claim), ack="local")
        await self._tell()

    # -- following what the others do

    async def _follow(self, watch: Watch) -> None:
        try:
            async for change in watch:
                await self._read(change.key)
                await self._tell()
        finally:
            watch.close()

    async def _read_all(self) -> None:
        cursor = ""
        while True:
            listing = await self._mesh.list(f"{self._prefix}/", limit=PAGE, cursor=cursor)
            for entry in listing.entries:
                await self._read(entry.key)
            cursor = listing.cursor
            if not cursor:
                return

    async def _read(self, key: str) -> None:
        kind, _, name = key.removeprefix(f"{self._prefix}/").partition("/")
        try:
            data = (await self._mesh.get(key)).data
        except NotFoundError:
            if kind == "claims":
                self._claims.pop(name, None)
            return
        # What is no claim or ballot counts as none. Its own ballot a voter reads only at the start: what it
        # reads later may be what it had before its last vote.
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, ValueError):
            if kind == "claims":
                claim = msgspec.json.decode(data, type=Claim)
                check_tube(claim.tube)
                if claim.id == name and self._is_news(claim):
                    self._claims[name] = claim
            elif kind == "votes" and self._may_read_ballot(name):
                self._ballots[name] = msgspec.json.decode(data, type=Ballot)

    def _may_read_ballot(self, voter: str) -> bool:
        return voter in self._voters and (voter != self._mesh.node_id or not self._tasks)

    def _is_news(self, claim: Claim) -> bool:
        """A claim only goes forward: a late answer of our own disk must not bring back what was withdrawn."""
        order = ("pending", "confirmed", "released")
        known = self._claims.get(claim.id)
        return known is None or order.index(claim.state) >= order.index(known.state)

    # -- voting

    async def _tend(self) -> None:
        """Vote whenever something changed, and take away own claims that are long over."""
        own = self._mesh.node_id
        while True:
            if own in self._voters:
                await self._vote(own)
            await self._forget()
            await self._wait()

    async def _vote(self, own: str) -> None:
        before = self._ballots.get(own, Ballot())
        after = voted(before, self._claims, self._clock_ms(), self._margin_ms)
        if after is not before:
            await self._mesh.put(f"{self._prefix}/votes/{own}", msgspec.json.encode(after), ack="local")
            self._ballots[own] = after
            await self._tell()

    async def _forget(self) -> None:
        """Delete our claims that no ballot names any more."""
        now_ms = self._clock_ms()
        part = f"-{self._mesh.node_id[:16]}-"
        for claim in list(self._claims.values()):
            ended_ms = max(claim.tube.until_ms, claim.made_ms) + 10 * self._margin_ms
            if part in claim.id and ended_ms < now_ms and not self._is_granted(claim.id):
                await self._mesh.delete(f"{self._prefix}/claims/{claim.id}")
                self._claims.pop(claim.id, None)

    def _is_granted(self, name: str) -> bool:
        return any(name in ballot.grants for ballot in self._ballots.values())

    async def _wait(self) -> None:
        """For any change, or a while."""
        for task in self._tasks:
            if task.done() and not task.cancelled() and task.exception() is not None:
                raise UsageError(reason=f"following the claims has ended: {task.exception()}")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY_S):
                async with self._changed:
                    await self._changed.wait()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()
