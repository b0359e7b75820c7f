"""Bugs in who is in the mesh, and in who is linked with whom."""

from __future__ import annotations

from bellande_mesh_sync.core.delivery.notes import Notes
from bellande_mesh_sync.core.members.swim.beliefs import Beliefs
from bellande_mesh_sync.core.session.dialing import Dialer
from bellande_mesh_sync.core.spreading.exchange import Exchange
from tests.simulation.mutants.planting import Mutant

MUTANTS = (
    Mutant(
        "returning_member_stays_gone",
        "A member that said goodbye and came back is still held for gone.",
        Beliefs.apply_record,
        "LEFT if record.left else ALIVE",
        "LEFT if record.left or self.view.standing(index) == LEFT else ALIVE",
    ),
    Mutant(
        "refutation_is_not_newer",
        "A node that hears of a later run of itself answers with a record that is no newer.",
        Beliefs._meet_ourselves,
        "self.reincarnate(record.incarnation + leap, left=self.own.left)",
        "self.reincarnate(record.incarnation - 1, left=self.own.left)",
    ),
    Mutant(
        "member_is_dialled_once",
        "A dial that succeeded counts as under way for ever, so a lost link is not dialled again.",
        Dialer.opened,
        "target.dial = target.failures = 0",
        "target.failures = 0",
    ),
    Mutant(
        "failed_dial_is_not_repeated",
        "A dial that failed counts as under way for ever.",
        Dialer.failed,
        "    target.dial = 0\n",
        "",
    ),
    Mutant(
        "notes_go_over_every_link",
        "A note to all goes over links for chunks too, so programs get it twice.",
        Notes.send,
        "self._links.records_links()",
        "self._links.all_links()",
    ),
    Mutant(
        "overtaken_store_goes_on_numbering",
        "A node that hears of later writes of its own keeps its epoch, and gives their numbers again.",
        Exchange._overtaken,
        "    self.replica.take_new_epoch(author_of(self.me.node, epoch), epoch)\n",
        "",
    ),
)
