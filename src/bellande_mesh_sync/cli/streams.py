"""Notice that nobody reads our output any more, while we wait for something to print."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def interrupted_when_unread() -> Iterator[None]:
    """Raise KeyboardInterrupt in the main thread when stdout's reader goes away.

    `bms watch | head -1` should end when `head` does, not at the next change, which may never come.
    """
    done_read, done_write = os.pipe()
    main_thread = threading.main_thread().ident
    assert main_thread is not None

    def wait() -> None:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)  # Errors and hang-ups are always told.
        poll.register(done_read, select.POLLIN)
        if all(fd != done_read for fd, _ in poll.poll()):
            signal.pthread_kill(main_thread, signal.SIGUSR1)

    # Not SIGINT: a shell script's background jobs ignore that one.
    before = signal.signal(signal.SIGUSR1, _interrupt)
    watcher = threading.Thread(target=wait, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        os.write(done_write, b"x")
        watcher.join()
        os.close(done_read)
        os.close(done_write)
        signal.signal(signal.SIGUSR1, before)


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt
