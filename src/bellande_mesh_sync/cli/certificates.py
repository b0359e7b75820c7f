"""`bms certs`: which certificates there are, how long they last, and what is wrong with one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from bellande_mesh_sync.cli import exits
from bellande_mesh_sync.cli.options import Command
from bellande_mesh_sync.cli.session import Session

if TYPE_CHECKING:
    from bellande_mesh_sync.values import CertificateView

_COLUMNS: Final = ("OF", "NAME", "ROLE", "LEFT", "NOT AFTER", "ISSUED BY", "RENEWED", "SERIAL", "ID")


@click.command(cls=Command, section="Look", examples=("bms certs", "bms certs --check crane-2.crt"))
@click.option("--check", "file", metavar="FILE", help="Say what is wrong with the certificate in FILE (PEM).")
@click.pass_obj
def certs(session: Session, file: str | None) -> int:
    """List the certificates of the node and of the peers it is linked with.

    Columns: whose, name, role, time left, end, issued by, whether it is renewed by itself, serial number, id.
    The id of an authority is the pin that 'bms accept' compares. While no node runs in the home, its files
    are listed. With --check, exit code 1 if something is wrong.
    """
    if file is not None:
        return _check(session, file)
    found = _found(session)
    output = session.output()
    if output.as_json:
        output.result({"certificates": found}, "")
    else:
        output.table(_COLUMNS, map(_row, found))
    return exits.DONE


def _found(session: Session) -> Sequence[CertificateView]:
    home = session.open_home()
    if session.api is not None or home.running() is not None:
        with session.client() as client:
            return client.certificates()
    from bellande_mesh_sync.errors import IdentityError, NotAMemberError
    from bellande_mesh_sync.security.certificates import CertificateFault, utc_now
    from bellande_mesh_sync.security.identity import has_identity
    from bellande_mesh_sync.security.inspection import views_in

    _, options = home.load_settings()
    path = Path(options.cert_path) if options.cert_path else None
    if path is None and not has_identity(home.identity_dir):
        raise NotAMemberError(home=str(home.path))
    try:
        return views_in(home.identity_dir, utc_now(), certificate_path=path)
    except CertificateFault as fault:
        raise IdentityError(path=str(home.identity_dir), reason=str(fault)) from None


def _check(session: Session, file: str) -> int:
    pem = Path(file).read_bytes()
    with session.client() as client:
        found = client.check_certificate(pem)
    output = session.output()
    if output.as_json:
        output.result(found, "")
    elif found.ok and found.certificate is not None:
        output.line(f"{found.certificate.name} is a member's, for {_left(found.certificate.left_s)} more")
    for fault in () if output.as_json else found.faults:
        output.line(fault)
    return exits.DONE if found.ok else exits.FAILED


def _row(view: CertificateView) -> tuple[str, ...]:
    return (
        view.of,
        view.name,
        view.role,
        _left(view.left_s) if view.left_s > 0 else view.standing,
        view.not_after,
        view.issued_by,
        "yes" if view.renewed else "no",
        view.serial,
        view.node,
    )


def _left(seconds: float) -> str:
    from bellande_mesh_sync.cli.output import human_seconds

    return human_seconds(seconds)
