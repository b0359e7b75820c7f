"""What one run of `bms` works with: the home, the API it talks to, the token, the form of its output."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bellande_mesh_sync.addresses import format_address, is_loopback, is_wildcard, parse_address
from bellande_mesh_sync.errors import UnreachableError, UsageError

if TYPE_CHECKING:
    import ssl

    from bellande_mesh_sync.cli.output import Output
    from bellande_mesh_sync.client import Client
    from bellande_mesh_sync.home import Home


@dataclass
class Session:
    """Filled by the global options while the command line is read; commands ask it for what they need."""

    home: str | None = None
    api: str | None = None
    token: str | None = None
    json: bool = False

    def output(self) -> Output:
        from bellande_mesh_sync.cli.output import Output

        return Output(self.json)

    def open_home(self) -> Home:
        from bellande_mesh_sync.home import Home

        if self.home is None:
            return Home.default()
        from pathlib import Path

        return Home(Path(self.home))

    def client(self) -> Client:
        """A client of the node asked for.

        Raises:
            UnreachableError: no --api was given and no node runs in the home.
        """
        from bellande_mesh_sync.client import Client

        url = self.api_url()
        return Client(url, self.find_token(url), verify=self._trusted(url))

    def api_url(self) -> str:
        if self.api is not None:
            return normalize_url(self.api)
        return f"http://{self._running_http()}"

    def find_token(self, url: str) -> str:
        """--token, BMS_TOKEN, or the home's admin token if it is the home's own node that is asked."""
        token = self.token or os.environ.get("BMS_TOKEN", "")
        if token or not self._may_send_admin_token(url):
            return token
        home = self.open_home()
        # Only read: looking at a node must not create its secrets.
        return home.admin_token() if (home.path / "admin.token").exists() else ""

    def _may_send_admin_token(self, url: str) -> bool:
        """A home's admin token is for the node that runs in it: --api may name anybody's server."""
        if self.api is None:
            return True
        from urllib.parse import urlsplit

        asked = urlsplit(url)
        running = self.open_home().running() or {}
        for address in filter(None, (running.get("http"), running.get("https"))):
            host, port = parse_address(dialable(str(address)))
            if asked.port == port and (asked.hostname == host or is_loopback(asked.hostname or "")):
                return True
        return False

    def _trusted(self, url: str) -> ssl.SSLContext | bool:
        """Whom to believe over https: the mesh's own authority if this home knows it."""
        authority = self.open_home().identity_dir / "authority.crt" if url.startswith("https:") else None
        if authority is None or not authority.exists():
            return True
        import ssl

        context = ssl.create_default_context(cafile=str(authority))
        # A node's certificate says which member it is, not at which address it runs today.
        context.check_hostname = False
        return context

    def _running_http(self) -> str:
        home = self.open_home()
        running: dict[str, Any] | None = home.running()
        if running is None:
            hint = "no node is running in it; start one with 'bms start', or name another with --api URL"
            raise UnreachableError(address=f"home {home.path}", reason=hint)
        address = str(running.get("http") or "")
        if not address:
            hint = "its node is starting, stopping, or runs without HTTP; try again, or use --api URL"
            raise UnreachableError(address=f"home {home.path}", reason=hint)
        return dialable(address)


def normalize_url(text: str) -> str:
    """`host:port` means plain HTTP; a trailing slash is dropped."""
    url = text if "://" in text else f"http://{text}"
    scheme, _, rest = url.partition("://")
    if scheme not in ("http", "https") or not rest.strip("/"):
        raise UsageError(reason=f"--api {text!r} is not an http:// or https:// address")
    return url.rstrip("/")


def dialable(address: str) -> str:
    """The address to call for one that may be `every interface`."""
    host, port = parse_address(address)
    if is_wildcard(host):
        host = "::1" if ":" in host else "127.0.0.1"
    return format_address(host, port)
