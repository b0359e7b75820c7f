"""`bms register`, `remove`, `sleep` and the like: who is in the mesh, and what this node says of itself."""

from __future__ import annotations

import click

from bellande_mesh_sync.cli.durations import DurationType, TimeoutType
from bellande_mesh_sync.cli.labels import LabelType
from bellande_mesh_sync.cli.look import ID_LENGTH_SHOWN
from bellande_mesh_sync.cli.options import Command
from bellande_mesh_sync.cli.session import Session
from bellande_mesh_sync.errors import UsageError

_SECTION = "Members"


@click.command(cls=Command, section="Look", examples=("bms nearest fleet/plans/dock --count 3",))
@click.argument("point", metavar="ID")
@click.option("--count", type=click.IntRange(1, 1000), default=20, help="How many.  [default: 20]")
@click.pass_obj
def nearest(session: Session, point: str, count: int) -> None:
    """List the live members nearest to an id by XOR distance, nearest first.

    ID is a whole node id; any other text, as a key, is hashed to a point. Columns: id, name, state.
    """
    output = session.output()
    with session.client() as client:
        found = client.nearest(point, count)
    if output.as_json:
        output.result({"nodes": found}, "")
        return
    length = ID_LENGTH_SHOWN if output.is_terminal else None
    output.table(("ID", "NAME", "STATE"), ((node.node[:length], node.name, node.state) for node in found))


@click.command(cls=Command, section=_SECTION, examples=("bms register 10.0.0.7:8000",))
@click.argument("address", metavar="HOST:PORT")
@click.option("--timeout", type=TimeoutType(), default=10.0, help="Give up after this long.  [default: 10]")
@click.pass_obj
def register(session: Session, address: str, timeout: float) -> None:
    """Tell the node where a member is reached, and wait until they are linked."""
    with session.client() as client:
        found = client.register(address, timeout)
    session.output().result(found, f"{found.name} ({found.node}) is {found.state}")


@click.command(cls=Command, section=_SECTION, examples=("bms remove crane-2",))
@click.argument("node")
@click.pass_obj
def remove(session: Session, node: str) -> None:
    """Say that a member that is down will not come back.

    NODE is a node's id, the first digits of one, or its name; it must be dead, asleep or left. All nodes
    are told: it counts as left, and no write waits for its disk. Nobody is expelled: if the machine is
    reached again, it is a member again.
    """
    with session.client() as client:
        removed = client.remove(node)
    session.output().result({"removed": [removed]}, f"removed {removed}")


@click.command(cls=Command, section=_SECTION, examples=("bms cleanup", "bms cleanup --older-than 1d"))
@click.option("--older-than", type=DurationType(), help="Dead for longer than this.  [default: node_timeout]")
@click.pass_obj
def cleanup(session: Session, older_than: int | None) -> None:
    """Remove all members that have been dead for a while."""
    output = session.output()
    with session.client() as client:
        removed = client.cleanup(older_than)
    if output.as_json:
        output.result({"removed": removed}, "")
        return
    for node in removed:
        output.line(node)
    output.note(f"removed {len(removed)}")


@click.command("restore-nodes", cls=Command, section=_SECTION, examples=("bms restore-nodes",))
@click.option("--timeout", type=TimeoutType(), default=5.0, help="Wait this long for them.  [default: 5]")
@click.pass_obj
def restore_nodes(session: Session, timeout: float) -> None:
    """Try all members without a link again now.

    Each is tried again by itself after a growing pause, which this ends. At once up to 128 are tried, of them
    four dead ones, and no more than there is room for; the others follow each second. Lists those of the
    first ones that answered.
    """
    output = session.output()
    with session.client() as client:
        found = client.restore_nodes(timeout)
    if output.as_json:
        output.result({"nodes": found}, "")
        return
    output.table(("ID", "NAME", "STATE"), ((node.node, node.name, node.state) for node in found))


@click.command(
    cls=Command, section=_SECTION, examples=("bms update --zone hall-4", "bms update --label floor=2")
)
@click.option("--label", type=LabelType(), multiple=True, help="Instead of all labels; may be repeated.")
@click.option("--no-labels", is_flag=True, help="Have no labels.")
@click.option("--zone", metavar="ZONE", help="What it shares with others that fail together with it.")
@click.option("--capacity", type=int, metavar="N", help="How much it can hold, compared with others.")
@click.pass_obj
def update(
    session: Session, label: tuple[tuple[str, str], ...], no_labels: bool, zone: str | None,
    capacity: int | None,
) -> None:  # fmt: skip
    """Change what the node says of itself, until it stops.

    Its next run starts with its settings again: what shall last belongs into node.toml.
    """
    if label and no_labels:
        raise UsageError(reason="--label and --no-labels contradict each other")
    labels = dict(label) if label or no_labels else None
    if labels is None and zone is None and capacity is None:
        raise UsageError(reason="nothing to change; give --label, --no-labels, --zone or --capacity")
    with session.client() as client:
        found = client.update(labels=labels, zone=zone, capacity=capacity)
    told = ", ".join(f"{name}={value}" for name, value in found.labels.items()) or "none"
    session.output().result(found, f"zone {found.zone or 'none'}, capacity {found.capacity}, labels {told}")


@click.command(cls=Command, section=_SECTION, examples=("bms announce",))
@click.pass_obj
def announce(session: Session) -> None:
    """Let the node say who it is to all members again."""
    with session.client() as client:
        client.announce()
    session.output().result({"done": True}, "announced")


@click.command(cls=Command, section=_SECTION, examples=("bms max-connections 200",))
@click.argument("count", type=click.IntRange(1, 100_000))
@click.pass_obj
def max_connections(session: Session, count: int) -> None:
    """Allow the node at most this many links, until it stops."""
    with session.client() as client:
        client.set_max_connections(count)
    session.output().result({"count": count}, f"at most {count} links")


@click.command(cls=Command, section=_SECTION, examples=("bms sleep --for 10m",))
@click.option("--for", "for_s", type=DurationType(), required=True, help="How long.")
@click.pass_obj
def sleep(session: Session, for_s: int) -> None:
    """Let the node fall silent as planned, without alarm.

    For maintenance, or to save a battery: the others are told that it sleeps. It goes on answering its own
    programs from what it holds, comes back after this time or with 'bms wake', and catches up. Said again
    during a sleep, it is heard only where UDP is not blocked: all links are closed then.
    """
    with session.client() as client:
        client.sleep(for_s)
    session.output().result({"for_s": for_s}, f"asleep for {for_s} s, or until 'bms wake'")


@click.command(cls=Command, section=_SECTION, examples=("bms wake",))
@click.pass_obj
def wake(session: Session) -> None:
    """End a planned sleep."""
    with session.client() as client:
        was_asleep = client.wake()
    session.output().result({"was_asleep": was_asleep}, "awake" if was_asleep else "it was not asleep")
