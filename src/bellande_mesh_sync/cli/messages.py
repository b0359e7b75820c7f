"""`bms send`, `broadcast`, `publish`: messages to programs on other nodes."""

from __future__ import annotations

import click

from bellande_mesh_sync.cli.options import Command
from bellande_mesh_sync.cli.session import Session

_SECTION = "Messages"

_topic = click.option(
    "--topic", metavar="TOPIC", default="", help="What it is about; receivers can filter by it."
)


@click.command(
    cls=Command,
    section=_SECTION,
    examples=('bms send crane-2 "dock 4 is free"', "bms send 9f3c1a --topic jobs/new 42"),
)
@click.argument("node")
@click.argument("text")
@_topic
@click.option("--reliable", is_flag=True, help="Keep it until the node has confirmed it.")
@click.pass_obj
def send(session: Session, node: str, text: str, topic: str, reliable: bool) -> None:
    """Send a text to the programs on one node.

    NODE is a node's id, the first digits of one, or its name, as 'bms nodes' shows them.
    """
    with session.client() as client:
        client.send(node, _body(text), topic=topic, reliable=reliable)
    session.output().result({"to": node, "topic": topic, "reliable": reliable}, f"sent to {node}")


@click.command(cls=Command, section=_SECTION, examples=('bms broadcast "maintenance at noon"',))
@click.argument("text")
@_topic
@click.pass_obj
def broadcast(session: Session, text: str, topic: str) -> None:
    """Send a text to the programs on all nodes that can be reached now."""
    with session.client() as client:
        count = client.broadcast(_body(text), topic=topic)
    session.output().result({"to": "*", "topic": topic, "nodes": count}, f"sent to {_nodes(count)}")


@click.command(
    cls=Command,
    section=_SECTION,
    examples=("bms publish alerts/fire 'hall 3'", "bms publish metrics/temp 21.5"),
)
@click.argument("topic")
@click.argument("text")
@click.pass_obj
def publish(session: Session, topic: str, text: str) -> None:
    """Send a text to everybody who subscribes to a topic."""
    with session.client() as client:
        count = client.publish(topic, _body(text))
    session.output().result({"topic": topic, "nodes": count}, f"published to {_nodes(count)}")


def _body(text: str) -> bytes:
    # As it was typed: an argument that is not UTF-8 arrives with surrogates in it.
    return text.encode("utf-8", "surrogateescape")


def _nodes(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"
