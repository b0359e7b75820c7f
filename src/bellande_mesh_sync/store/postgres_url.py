"""What a `postgresql://` URL names, and how it is spoken of: never with a password."""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import quote, unquote

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from bellande_mesh_sync.errors import ConfigError

_SCHEMA: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_SECRETS: Final = ("password", "sslpassword")
_DEFAULTS: Final = {
    "application_name": "bellande-mesh-sync",
    "client_encoding": "UTF8",
    "connect_timeout": "10",
    # A server that is gone without a word is noticed in half a minute, not in the system's two hours.
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "25000",
}


class ServerUrl(NamedTuple):
    conninfo: str
    """For libpq; may hold a password."""
    schema: str
    shown: str
    """For people: where it is, without user and password."""
    secrets: tuple[str, ...]

    def scrub(self, text: str) -> str:
        """`text`, by libpq or the server, on one line and without a password it may quote."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return " ".join(text.split())


def parse_url(url: str, default_schema: str) -> ServerUrl:
    """Take a URL apart: libpq's own form, and `schema=NAME` among its parameters. Raises ConfigError."""
    place, _, query = url.partition("?")
    pairs = [pair for pair in query.split("&") if pair]
    schemas = [unquote(pair.removeprefix("schema=")) for pair in pairs if pair.startswith("schema=")]
    rest = "&".join(pair for pair in pairs if not pair.startswith("schema="))
    try:
        given = conninfo_to_dict(f"{place}?{rest}")
        if not all(port.isdecimal() for port in str(given.get("port", "5432")).split(",")):
            raise ValueError("a port")
    except (ValueError, ProgrammingError):
        # The reason would quote the URL, and with it the password.
        reason = "it is no PostgreSQL URL: postgresql://USER@HOST:PORT/DATABASE?schema=NAME is the form"
        raise ConfigError(field="db_url", reason=reason) from None
    schema = schemas[-1] if schemas else default_schema
    if not _SCHEMA.fullmatch(schema) or schema.startswith("pg_"):
        reason = f"schema {schema!r} is not 1 to 63 of a-z, 0-9 and _, starting with a letter or _"
        raise ConfigError(field="db_url", reason=reason)
    secrets = {str(given[name]) for name in _SECRETS if given.get(name)}
    secrets |= {quote(secret, safe="") for secret in secrets}
    conninfo = make_conninfo("", **{**_DEFAULTS, **given})
    port = f":{given['port']}" if given.get("port") else ""
    shown = f"postgresql://{given.get('host', '')}{port}/{given.get('dbname', '')}?schema={schema}"
    return ServerUrl(conninfo, schema, shown, tuple(sorted(secrets, key=len, reverse=True)))
