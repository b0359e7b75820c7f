"""Sending messages and publishing on topics."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from msgspec import Struct

from bellande_mesh_sync.api.calls import Call
from bellande_mesh_sync.api.operations import OCTETS, Operation
from bellande_mesh_sync.errors import InvalidKeyError, UnsupportedError, UsageError

TOPIC_BODY_BYTES_MAX: Final = 1024 * 1024

EVERYBODY: Final = "*"


class OutgoingMessage(Struct, forbid_unknown_fields=True, kw_only=True):
    """A message to send. Its body is either `text` or `body_base64`."""

    to: str
    """A node's id, the unique start of one, a node's name, or `*` for every member."""
    text: str | None = None
    body_base64: str | None = None
    topic: str = ""
    reliable: bool = False


class Sent(Struct, frozen=True):
    sent: int
    """To how many nodes it went."""


async def send_message(call: Call) -> Sent:
    """Send a message to one node, or to every member."""
    message = await call.json(OutgoingMessage)
    body = _body_of(message)
    if message.to != EVERYBODY:
        node = (await call.mesh.find_node(message.to)).node
        await call.mesh.send(node, body, topic=message.topic, reliable=message.reliable)
        return Sent(1)
    if message.reliable:
        raise UnsupportedError(what="a reliable message to every member")
    return Sent(await call.mesh.broadcast(body, topic=message.topic))


async def publish(call: Call) -> Sent:
    """Publish the raw body on the topic."""
    try:
        topic = call.path_rest()
    except InvalidKeyError as error:
        raise UsageError(reason=f"topic {error.key!r} is not allowed: {error.reason}") from None
    return Sent(await call.mesh.publish(topic, await call.body(TOPIC_BODY_BYTES_MAX)))


def _body_of(message: OutgoingMessage) -> bytes:
    if (message.text is None) == (message.body_base64 is None):
        raise UsageError(reason="the body: give either 'text' or 'body_base64'")
    if message.text is not None:
        return message.text.encode()
    try:
        return base64.b64decode(message.body_base64 or "", validate=True)
    except (binascii.Error, ValueError):
        raise UsageError(reason="the body: 'body_base64' is not Base64") from None


OPERATIONS: Final = (
    Operation(
        "POST", "/v1/messages", send_message, "Send a message", "writer", body=OutgoingMessage, answer=Sent
    ),
    Operation(
        "POST", "/v1/topics/{topic:rest}", publish, "Publish", "writer", body_media=OCTETS, answer=Sent
    ),
)
