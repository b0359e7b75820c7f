"""`bms init`, `invite`, `join`: make a mesh, let nodes in, become one of them."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from bellande_mesh_sync.addresses import format_address, is_loopback, parse_address
from bellande_mesh_sync.cli.durations import DurationType
from bellande_mesh_sync.cli.labels import LabelType
from bellande_mesh_sync.cli.options import Command
from bellande_mesh_sync.cli.session import Session
from bellande_mesh_sync.errors import AlreadyAMemberError, ConfigError, UnreachableError, UsageError

if TYPE_CHECKING:
    from bellande_mesh_sync.home import Home
    from bellande_mesh_sync.security.identity import Identity

# The same as security.certificates.ROLES, without loading a cryptographic library for `--help`.
ROLES = ("observer", "reader", "writer", "admin")

_SECTION = "Become a mesh"
_NAME_LENGTH_MAX = 64
_TOKEN_LENGTH_MAX = 16_384


@click.command(
    cls=Command,
    section=_SECTION,
    examples=("bms init --mesh harbour --name crane-1", "bms --home /srv/crane init"),
)
@click.option(
    "--mesh", "mesh_name", metavar="NAME", default="mesh", help="What to call the mesh.  [default: mesh]"
)
@click.option("--name", "node_name", metavar="NODE", help="What to call this node.  [default: the host name]")
@click.pass_obj
def init(session: Session, mesh_name: str, node_name: str | None) -> None:
    """Create a mesh, with this node as its first member.

    Makes the mesh's own authority and this node's identity, and writes a commented node.toml. Every
    other node joins with a token from 'bms invite'. Keep identity/authority.key safe: whoever has it
    can let nodes in.
    """
    from bellande_mesh_sync.security.authority import found_mesh
    from bellande_mesh_sync.security.identity import save_identity

    home, name = session.open_home(), node_name or host_name()
    refuse_second_identity(home)
    with home.lock():
        # Again under the lock: of two at the same moment one wins.
        refuse_second_identity(home)
        authority, identity = found_mesh(mesh_name, name)
        authority.save(home.identity_dir)
        if not home.settings_path.exists():
            home.write_settings(name=name)
        # Last, because it is what makes the home a member: a crash before it leaves nothing in the way.
        save_identity(identity, home.identity_dir)
    output = session.output()
    output.result(
        _membership(home, identity), f"created mesh {mesh_name}; this node is {name} ({identity.node.hex()})"
    )
    output.note("Next: 'bms start' runs the node, 'bms invite' lets another one in.")


@click.command(
    cls=Command,
    section=_SECTION,
    examples=(
        "bms invite",
        "bms invite --role reader --expires 7d --uses 20",
        "bms invite --uses 200 --label site=a",
        "bms invite | ssh crane-2 bms join -",
    ),
)
@click.option("--role", type=click.Choice(ROLES), default="writer", help="What it may do.  [default: writer]")
@click.option("--expires", type=DurationType(), default="1h", help="How long it can be used.  [default: 1h]")
@click.option(
    "--uses", type=click.IntRange(1, 10_000), default=1, help="How many nodes may use it.  [default: 1]"
)
@click.option(
    "--label", type=LabelType(), multiple=True, help="What they say of themselves; may be repeated."
)
@click.option(
    "--address",
    "addresses",
    metavar="HOST:PORT",
    multiple=True,
    help="HTTPS address to join at; may be repeated.  [default: this node's]",
)
@click.pass_obj
def invite(
    session: Session, role: str, expires: int, uses: int, label: tuple[tuple[str, str], ...],
    addresses: tuple[str, ...],
) -> None:  # fmt: skip
    """Print a join token, one line.

    It names the mesh, how to reach it and how to recognise it. Whoever has it can join until it
    expires or is used up, so hand it over on a channel you trust. Needs the home that made the mesh;
    the node may be running or not, but must run when the token is used.
    """
    output, labels = session.output(), dict(label)
    if session.api is not None:
        _refuse_addresses(addresses)
        with session.client() as client:
            token = client.invite(role=role, expires_s=expires, uses=uses, labels=labels)
    else:
        from bellande_mesh_sync.security.identity import load_identity
        from bellande_mesh_sync.security.invites import InviteBook
        from bellande_mesh_sync.security.issuing import load_issuer

        home = session.open_home()
        load_identity(home.identity_dir)  # Says what is missing in the home's own words.
        authority = load_issuer(home.identity_dir)
        given = list(addresses) or _own_addresses(home)
        _check_addresses(given)
        book = InviteBook(home.identity_dir / "invites")
        token = book.create(role, expires, uses, given, authority, labels=labels, now=time.time())
        if all(is_loopback(parse_address(address)[0]) for address in given):
            output.note(
                "This token works on this machine only: the node listens on loopback. See listen_address."
            )
    shown = {"token": token, "role": role, "expires_s": expires, "uses": uses, "labels": labels}
    output.result(shown, token)


@click.command(
    cls=Command,
    section=_SECTION,
    examples=("bms join bmj1.AbC...", "bms invite | ssh crane-2 bms join - --name crane-2"),
)
@click.argument("token_text", metavar="TOKEN")
@click.option("--name", "node_name", metavar="NODE", help="What to call this node.  [default: the host name]")
@click.pass_obj
def join(session: Session, token_text: str, node_name: str | None) -> None:
    """Become a member of a mesh, with a token from 'bms invite'.

    TOKEN '-' reads it from standard input, where other users of this machine cannot see it. The
    mesh is recognised by the token, before anything is sent; this node's private key never leaves it.
    """
    from bellande_mesh_sync.security.joining import join_home

    home, name = session.open_home(), node_name or host_name()
    text = _read_token(token_text)
    refuse_second_identity(home)
    with home.lock():
        refuse_second_identity(home)
        identity = join_home(text, name, home)
    output = session.output()
    output.result(
        _membership(home, identity),
        f"joined mesh {identity.mesh_name}; this node is {identity.name} ({identity.node.hex()})",
    )
    output.note("Next: 'bms start' runs the node.")


def refuse_second_identity(home: Home) -> None:
    """AlreadyAMemberError if the home holds an identity, even one that cannot be used any more."""
    from bellande_mesh_sync.security.identity import has_identity, load_identity

    if has_identity(home.identity_dir):
        try:
            node = load_identity(home.identity_dir).node.hex()
        except ConfigError:
            node = "(unreadable)"
        raise AlreadyAMemberError(home=str(home.path), node=node)


def _membership(home: Home, identity: Identity) -> dict[str, Any]:
    return {
        "mesh": identity.mesh_name,
        "mesh_id": identity.mesh_id.hex(),
        "node": identity.node.hex(),
        "name": identity.name,
        "role": identity.role,
        "home": str(home.path),
    }


def host_name() -> str:
    import platform

    return platform.node()[:_NAME_LENGTH_MAX] or "node"


def _read_token(text: str) -> str:
    if text != "-":
        return text
    token = sys.stdin.readline(_TOKEN_LENGTH_MAX).strip()
    if not token:
        raise UsageError(reason="no token on standard input; expected one line from 'bms invite'")
    return token


def _own_addresses(home: Home) -> list[str]:
    """Where this home's node can be joined: where it listens now, else where it will by its settings."""
    from bellande_mesh_sync.config import resolve
    from bellande_mesh_sync.shell.boot import advertised

    settings = resolve(*home.load_settings(), home.path)
    host, port = settings.https_host, settings.https_port
    running = home.running()
    if running is not None:
        if not running.get("https"):
            reason = "its node does not serve HTTPS, which joining needs; set https_port, or give --address"
            raise UnreachableError(address=f"home {home.path}", reason=reason)
        host, port = parse_address(str(running["https"]))
    if port <= 0:
        reason = "it is off or any free one; start the node, set a port, or give --address HOST:PORT"
        raise ConfigError(field="https_port", reason=reason)
    hosts = dict.fromkeys(parse_address(address)[0] for address in advertised(settings, host, port))
    return [format_address(name, port) for name in hosts]


def _check_addresses(addresses: list[str]) -> None:
    for address in addresses:
        try:
            _, port = parse_address(address)
        except ValueError as error:
            raise UsageError(reason=f"--address {error}") from None
        if port == 0:
            raise UsageError(reason=f"--address {address!r}: port 0 cannot be called")


def _refuse_addresses(addresses: tuple[str, ...]) -> None:
    if addresses:
        raise UsageError(
            reason="--address is for a token made in this home; with --api the node names its own"
        )
