"""`bms request`, `sign`, `accept`: become a member, be renewed, or become an issuer, by files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bellande_mesh_sync.addresses import format_address, is_loopback, parse_address
from bellande_mesh_sync.cli.labels import LabelType
from bellande_mesh_sync.cli.mesh import ROLES, host_name
from bellande_mesh_sync.cli.options import Command
from bellande_mesh_sync.cli.session import Session
from bellande_mesh_sync.errors import UsageError

if TYPE_CHECKING:
    from bellande_mesh_sync.home import Home
    from bellande_mesh_sync.security.admission import JoinAnswer

_SECTION = "Become a mesh"
_DAYS_MAX = 3650


@click.command(
    cls=Command,
    section=_SECTION,
    examples=("bms request crane-2.csr --name crane-2", "bms request issuer.csr --issuer"),
)
@click.argument("file", metavar="FILE")
@click.option("--name", "node_name", metavar="NODE", help="What to call this node.  [default: the host name]")
@click.option("--pin", metavar="PIN", default="", help="The authority's pin, for 'bms accept' to compare.")
@click.option("--issuer", "as_issuer", is_flag=True, help="Ask to become an issuer; for a member.")
@click.pass_obj
def request(session: Session, file: str, node_name: str | None, pin: str, as_issuer: bool) -> None:
    """Write a request for a certificate, to be signed elsewhere.

    For a machine that never meets one that lets nodes in. FILE holds no secret: the private key stays in
    the home. Carry it to a machine that can sign, run 'bms sign' there, and 'bms accept' here with what
    comes back. On a member it asks for a new certificate for the same key. '-' is standard output.
    """
    from bellande_mesh_sync.security import enrolment
    from bellande_mesh_sync.security.identity import has_identity

    home = session.open_home()
    renews = has_identity(home.identity_dir)
    if as_issuer and not renews:
        raise UsageError(reason="only a member can become an issuer; leave --issuer away to become a member")
    if renews and node_name:
        raise UsageError(reason="this home is a member and keeps its name; leave --name away")
    if as_issuer:
        content = enrolment.make_issuer_request(home)
    elif renews:
        content = enrolment.make_renewal_request(home)
    else:
        with home.lock():
            content = enrolment.make_request(home, node_name or host_name(), pin=pin)
    asked = enrolment.read_request(content, file)
    _write(file, content)
    if file == "-":
        return
    shown = {"file": file, "name": asked.name, "issuer": as_issuer, "renews": renews and not as_issuer}
    output = session.output()
    output.result(shown, f"wrote {file}, the request of {asked.name}")
    output.note(
        f"Next: 'bms sign {file} -o ANSWER' on a machine that can sign, then 'bms accept ANSWER' here."
    )


@click.command(
    cls=Command,
    section=_SECTION,
    examples=(
        "bms sign crane-2.csr -o crane-2.answer --role writer",
        "bms sign crane-2.csr -o crane-2.answer --days 90 --label site=a",
        "bms sign issuer.csr -o issuer.answer --issuer",
    ),
)
@click.argument("file", metavar="REQUEST")
@click.option("-o", "--output", "target", metavar="ANSWER", required=True, help="Where to write the answer.")
@click.option("--role", type=click.Choice(ROLES), default="writer", help="What it may do.  [default: writer]")
@click.option(
    "--days",
    type=click.FloatRange(0, _DAYS_MAX, min_open=True),
    help="How long it is valid.  [default: 30, an issuer 365]",
)
@click.option("--name", "node_name", metavar="NODE", help="Another name than the one asked for.")
@click.option("--label", type=LabelType(), multiple=True, help="What it says of itself; may be repeated.")
@click.option(
    "--bootstrap",
    metavar="HOST:PORT",
    multiple=True,
    help="Whom it calls first; may be repeated.  [default: this node]",
)
@click.option("--issuer", "as_issuer", is_flag=True, help="Make the member that asks an issuer.")
@click.pass_obj
def sign(
    session: Session, file: str, target: str, role: str, days: float | None, node_name: str | None,
    label: tuple[tuple[str, str], ...], bootstrap: tuple[str, ...], as_issuer: bool,
) -> None:  # fmt: skip
    """Sign a request of 'bms request'. Needs the authority's key, or an issuer's.

    Look at where the request came from first: whoever's key it is becomes a member. Tell those who take
    ANSWER the pin that this prints, by another way than the file: it is how they know the authority.
    With --issuer, which takes the authority's key, the member that asks may itself let nodes in and renew.
    """
    from bellande_mesh_sync.security import enrolment
    from bellande_mesh_sync.security.authority import Authority
    from bellande_mesh_sync.security.building import ISSUER_DAYS, LEAF_DAYS
    from bellande_mesh_sync.security.certificates import load_pem
    from bellande_mesh_sync.security.identity import AUTHORITY_FILE, read_certificate
    from bellande_mesh_sync.security.issuing import load_issuer

    home = session.open_home()
    asked = enrolment.read_request(_read(file), file)
    if asked.wants_to_issue and not as_issuer:
        raise UsageError(reason=f"{file} asks to become an issuer; say --issuer if that is meant")
    if as_issuer and not asked.wants_to_issue:
        raise UsageError(
            reason=f"{file} asks for membership; 'bms request --issuer' asks to become an issuer"
        )
    name = node_name or asked.name
    authority_pem = read_certificate(home.identity_dir / AUTHORITY_FILE)
    if as_issuer:
        authority = Authority.load(home.identity_dir)
        grant = enrolment.grant_issuing(authority, authority_pem, asked, name=name, days=days or ISSUER_DAYS)
    else:
        _check_addresses(bootstrap)
        grant = enrolment.grant_membership(
            load_issuer(home.identity_dir),
            authority_pem,
            asked,
            name=name,
            role=role,
            days=days or LEAF_DAYS,
            labels=dict(label),
            bootstrap=bootstrap or _own_addresses(home),
        )
    _write(target, grant)
    answer = enrolment.read_grant(grant, target)
    end = load_pem(answer.certificate.encode()).not_valid_after_utc
    pin = enrolment.grant_pin(answer)
    shown = {"file": target, "name": name, "role": answer.role, "not_after": end.isoformat(), "pin": pin}
    output = session.output()
    if target != "-":
        output.result(shown, f"signed {name} as {answer.role} until {end:%Y-%m-%d %H:%M} UTC; pin {pin}")
    if not as_issuer and _is_local_only(answer):
        output.note("It names no member that another machine can call: give --bootstrap HOST:PORT.")


@click.command(cls=Command, section=_SECTION, examples=("bms accept crane-2.answer --pin 3b1f...",))
@click.argument("file", metavar="ANSWER")
@click.option("--pin", metavar="PIN", default="", help="The authority's pin, as the signer told it.")
@click.pass_obj
def accept(session: Session, file: str, pin: str) -> None:
    """Take the answer to this machine's request.

    A newcomer knows no authority yet, so it compares the pin: given here, given to 'bms request', or, on a
    terminal, asked for. A member needs none. A running node takes a new certificate within a minute.
    """
    from bellande_mesh_sync.security import enrolment
    from bellande_mesh_sync.security.identity import has_identity

    home = session.open_home()
    grant = enrolment.read_grant(_read(file), file)
    output = session.output()
    if has_identity(home.identity_dir):
        accepted = enrolment.accept(home, grant, file, "")
    else:
        known = _known_pin(session, home, grant, pin)
        with home.lock():
            accepted = enrolment.accept(home, grant, file, known)
    identity = accepted.identity
    shown = {
        "mesh": identity.mesh_name,
        "node": identity.node.hex(),
        "name": identity.name,
        "role": identity.role,
        "issuer": accepted.is_issuer,
        "not_after": identity.not_after.isoformat(),
    }
    if accepted.is_issuer:
        output.result(shown, f"{identity.name} is an issuer of mesh {identity.mesh_name}")
    elif accepted.is_new:
        output.result(
            shown, f"joined mesh {identity.mesh_name}; this node is {identity.name} ({identity.node.hex()})"
        )
        output.note("Next: 'bms start' runs the node.")
    else:
        output.result(
            shown, f"{identity.name} has a certificate until {identity.not_after:%Y-%m-%d %H:%M} UTC"
        )


def _known_pin(session: Session, home: Home, grant: JoinAnswer, given: str) -> str:
    from bellande_mesh_sync.security.enrolment import check_pin, grant_pin, pending_pin

    pending = pending_pin(home)
    if given or pending:
        return check_pin(given or pending)
    claimed = grant_pin(grant)
    if session.json or not sys.stdin.isatty():
        raise UsageError(reason="--pin is needed: without it anybody's answer would do; 'bms sign' prints it")
    question = (
        f"The answer is of mesh {grant.mesh_name!r}, whose authority has the pin\n  {claimed}\nIs it right?"
    )
    if not click.confirm(question, err=True):
        raise click.Abort
    return claimed


def _read(file: str) -> bytes:
    from bellande_mesh_sync.security.enrolment import FILE_BYTES_MAX

    if file == "-":
        return sys.stdin.buffer.read(FILE_BYTES_MAX)
    with Path(file).open("rb") as stream:
        return stream.read(FILE_BYTES_MAX)


def _write(file: str, content: bytes) -> None:
    if file == "-":
        sys.stdout.write(content.decode())
        return
    Path(file).write_bytes(content)


def _check_addresses(addresses: tuple[str, ...]) -> None:
    for address in addresses:
        try:
            _, port = parse_address(address)
        except ValueError as error:
            raise UsageError(reason=f"--bootstrap {error}") from None
        if port == 0:
            raise UsageError(reason=f"--bootstrap {address!r}: port 0 cannot be called")


def _own_addresses(home: Home) -> list[str]:
    """Where this home's node takes links: now, else by its settings; none if any free port will do."""
    from bellande_mesh_sync.config import resolve
    from bellande_mesh_sync.shell.boot import advertised

    settings = resolve(*home.load_settings(), home.path)
    host, port = settings.listen_host, settings.tcp_port
    running = home.running()
    if running is not None and running.get("tcp"):
        host, port = parse_address(str(running["tcp"]))
    if settings.advertise:
        return list(settings.advertise)
    return [format_address(*parse_address(each)) for each in advertised(settings, host, port)] if port else []


def _is_local_only(grant: JoinAnswer) -> bool:
    return all(is_loopback(parse_address(address)[0]) for address in grant.bootstrap)
