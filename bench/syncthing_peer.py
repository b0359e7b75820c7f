"""Two Syncthings on loopback, over TLS: what one has in its folder is brought to the other.

Discovery, relays and the watcher of the folder are off. The clock runs from the request to scan until the
receiver lacks nothing of what the sender found.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import httpx

from bench.meshes import fresh_folder
from bench.peers import free_port, poll, server

KEY = "bench"
FOLDER = "bench"
LOOK_SECONDS = 0.05
SYNC_SECONDS_MAX = 600.0
OPTIONS = {
    "globalAnnounceEnabled": "false",
    "localAnnounceEnabled": "false",
    "relaysEnabled": "false",
    "natEnabled": "false",
    "urAccepted": "-1",
    "crashReportingEnabled": "false",
    "autoUpgradeIntervalH": "0",
    "startBrowser": "false",
    "reconnectionIntervalS": "1",
    "progressUpdateIntervalS": "-1",
}


class Instance:
    """One Syncthing: its home, its folder, and its REST interface."""

    def __init__(self, root: Path) -> None:
        self.home = root / "home"
        self.folder = root / "folder"
        (self.folder / ".stfolder").mkdir(parents=True)
        self.rest_port, self.port = free_port(), free_port()
        made = ["syncthing", "generate", f"--home={self.home}", "--no-default-folder"]
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        asked = ["syncthing", f"--home={self.home}", "--device-id"]
        self.device = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
        self._rest = httpx.Client(
            base_url=f"http://127.0.0.1:{self.rest_port}/rest/",
            headers={"X-API-Key": KEY},
            timeout=SYNC_SECONDS_MAX,
            trust_env=False,
        )

    def configure(self, other: Instance) -> None:
        path = self.home / "config.xml"
        tree = ElementTree.parse(path)
        root = tree.getroot()
        for tag in ("folder", "device"):
            for found in root.findall(tag):
                root.remove(found)
        folder = ElementTree.SubElement(
            root, "folder", id=FOLDER, label=FOLDER, path=str(self.folder), type="sendreceive",
            rescanIntervalS="0", fsWatcherEnabled="false", ignorePerms="true",
        )  # fmt: skip
        for instance, address in ((self, "dynamic"), (other, f"tcp://127.0.0.1:{other.port}")):
            ElementTree.SubElement(folder, "device", id=instance.device)
            device = ElementTree.SubElement(root, "device", id=instance.device, name=instance.home.name)
            ElementTree.SubElement(device, "address").text = address
        rest = root.find("gui")
        options = root.find("options")
        if rest is None or options is None:
            raise RuntimeError(f"{path} has another form than expected")
        _set(rest, "address", f"127.0.0.1:{self.rest_port}")
        _set(rest, "apikey", KEY)
        for name, value in {**OPTIONS, "listenAddress": f"tcp://127.0.0.1:{self.port}"}.items():
            _set(options, name, value)
        tree.write(path)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        command = ["syncthing", "serve", f"--home={self.home}", "--no-browser", "--no-restart"]
        env = {**os.environ, "STNOUPGRADE": "1"}
        with self._rest, server([*command, "--no-upgrade"], self.rest_port, env=env):
            yield

    def is_linked_with(self, other: Instance) -> bool:
        links = self._rest.get("system/connections").json()["connections"]
        return bool(links.get(other.device, {}).get("connected"))

    def scan(self) -> None:
        self._rest.post("db/scan", params={"folder": FOLDER}).raise_for_status()

    def status(self) -> dict[str, object]:
        found: dict[str, object] = self._rest.get("db/status", params={"folder": FOLDER}).json()
        return found

    def is_complete(self, other: Instance) -> bool:
        """Whether `other` has told us that it lacks nothing of ours."""
        params = {"folder": FOLDER, "device": other.device}
        lacks = self._rest.get("db/completion", params=params).json()
        return not (lacks["needItems"] or lacks["needBytes"] or lacks["needDeletes"])


class Syncthings:
    def __init__(self, sender: Instance, receiver: Instance) -> None:
        self.source = sender.folder
        self.target = receiver.folder
        self._sender = sender
        self._receiver = receiver

    def bring(self) -> float:
        """Seconds until the receiver has what is in the source now."""
        began = time.perf_counter()
        self._sender.scan()
        poll(self._is_done, SYNC_SECONDS_MAX, LOOK_SECONDS)
        return time.perf_counter() - began

    def _is_done(self) -> bool:
        ours, theirs = self._sender.status(), self._receiver.status()
        is_idle = theirs["state"] == "idle" and theirs["needTotalItems"] == 0
        has_all = theirs["inSyncBytes"] == ours["localBytes"] and theirs["globalBytes"] == ours["globalBytes"]
        return is_idle and has_all and self._sender.is_complete(self._receiver)


@contextlib.contextmanager
def syncthings() -> Iterator[Syncthings]:
    """Two of them, linked."""
    with fresh_folder() as root:
        sender, receiver = Instance(root / "sender"), Instance(root / "receiver")
        sender.configure(receiver)
        receiver.configure(sender)
        with sender.running(), receiver.running():
            poll(lambda: sender.is_linked_with(receiver), 60.0, 0.1)
            yield Syncthings(sender, receiver)


def _set(parent: ElementTree.Element, name: str, value: str) -> None:
    for found in parent.findall(name):
        parent.remove(found)
    ElementTree.SubElement(parent, name).text = value
