"""A program that goes on writing while the mesh is in trouble, and remembers what it was promised."""

from __future__ import annotations

import random
import threading
from types import TracebackType
from typing import Self

from blake3 import blake3

from bellande_mesh_sync.client import Client
from bellande_mesh_sync.errors import BellandeMeshError

VALUE_BYTES = 200


class Writer:
    """Puts small values with `ack=one` from a thread of its own, one after the other.

    `promised` holds the BLAKE3 of every value whose write was acknowledged: one more node than the
    one we talk to had it on disk by then.
    """

    def __init__(self, client: Client, prefix: str) -> None:
        self.promised: dict[str, str] = {}
        self.errors: list[BellandeMeshError] = []
        self._client = client
        self._prefix = prefix
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="writer")

    def _run(self) -> None:
        rng = random.Random(1)
        number = 0
        while not self._stopping.is_set():
            number += 1
            key = f"{self._prefix}/{number:06d}"
            value = rng.randbytes(VALUE_BYTES)
            try:
                self._client.put(key, value, ack="one")
            except BellandeMeshError as error:
                self.errors.append(error)  # Not promised: it may or may not be there.
                return
            self.promised[key] = blake3(value).hexdigest()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()
