"""Bugs in who is in the mesh, and in who is linked with whom."""

from __future__ import annotations

from bellande_mesh_sync.core.delivery.notes import Notes
from bellande_mesh_sync.core.members.directory import Directory
from bellande_mesh_sync.core.members.membership import Membership
from bellande_mesh_sync.core.members.swim.beliefs import Beliefs
from bellande_mesh_sync.core.members.swim.ourselves import Ourselves
from bellande_mesh_sync.core.session.dialing import Dialer
from bellande_mesh_sync.core.spreading.exchange import Exchange
from tests.simulation.mutants.planting import MEMBERS, Mutant

MUTANTS = (
    Mutant(
        "returning_member_stays_gone",
        "A member that said goodbye and came back is still held for gone.",
        Beliefs._replace,
        "old = self.view.standing(index)\n",
        "old = self.view.standing(index)\n    standing = max(old, standing) if old == LEFT else standing\n",
    ),
    Mutant(
        "refutation_is_not_newer",
        "A node that hears of a later run of itself answers with a record that is no newer.",
        Ourselves.meet,
        "self.reincarnate(record.incarnation + leap, left=self.record.left)",
        "self.reincarnate(record.incarnation - 1, left=self.record.left)",
        MEMBERS,
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
        "moved_member_is_dialled_where_it_was",
        "A member that says that it is reached elsewhere is dialled at its old address.",
        Dialer._targets,
        "elif target.addresses != member.addresses:",
        "elif False:",
    ),
    Mutant(
        "owners_are_counted_once",
        "Who owns records is not worked out again when a member comes.",
        Directory._show,
        "    if shown is None:\n        self._owners = None\n",
        "    if shown is None:\n",
    ),
    Mutant(
        "dead_are_no_owners",
        "A member counts no more for quorum and all from the moment that it is held for dead.",
        Directory._count_owners,
        "if now.mono_ns - shown.since_ns >= limit_ns:",
        "if True:",
    ),
    Mutant(
        "peer_book_is_believed",
        "A member that was known in the last run is shown alive before anybody was met in this one.",
        Directory.__init__,
        "else MemberState.SUSPECT",
        "else MemberState.ALIVE",
    ),
    Mutant(
        "own_record_is_not_kept",
        "A node does not write down its own record, so its next run begins in the incarnations of this one.",
        Membership._done,
        "self._book.note(own, now)",
        "pass",
    ),
    Mutant(
        "waiting_note_goes_out_twice",
        "A note that was sent over a neighbour goes out once more when the link comes that it waited for.",
        Notes.handle_answer,
        "    del self._waiting[answer.number]\n",
        "",
    ),
    Mutant(
        "overtaken_store_goes_on_numbering",
        "A node that hears of later writes of its own keeps its epoch, and gives their numbers again.",
        Exchange._become_new_author,
        "    self.replica.take_new_epoch(author_of(self.me.node, epoch), epoch)\n",
        "",
    ),
)
