"""One write as its client knows it. See `key_story` for how writes are weighed against each other."""

from __future__ import annotations

from bellande_mesh_sync.sim.history import AskedWrite


class WriteStory:
    """One write that a client asked for, and what became of it."""

    __slots__ = ("asked", "asked_ns", "bit", "covers", "doubt", "ended_ns", "is_frozen", "is_refused", "kin",
                 "may", "node", "owner", "stamp", "version")  # fmt: skip

    def __init__(self, bit: int, node: int, asked: AskedWrite, asked_ns: int) -> None:
        self.bit = bit
        self.node = node
        self.asked = asked
        self.asked_ns = asked_ns
        self.ended_ns = -1
        """When its client was told that it is done."""
        self.version = ""
        self.stamp = -1
        self.covers = 0
        self.may = -1  # Every write there is, and that will be.
        self.is_frozen = False
        """`may` stands: the write has taken effect, and what it saw was asked by then."""
        self.is_refused = False
        self.doubt = ""
        """Why its if_match cannot have held, if that was clear when it was asked."""
        self.kin: list[WriteStory] = []
        """Writes that no client could tell from this one when a version of one of them appeared."""
        self.owner: tuple[int, int] = (-1, -1)
        """The request, and the place in it."""
