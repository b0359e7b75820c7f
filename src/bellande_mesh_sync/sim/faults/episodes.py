"""What is wrong for a while: of several causes of the same thing the last one's end repairs it."""

from __future__ import annotations

from collections.abc import Callable, Hashable


class Episodes:
    """All that goes on in a mesh, whoever began it."""

    def __init__(self) -> None:
        self._count = 0
        self._states: dict[int, Hashable] = {}
        """By episode, what is wrong: the kind, and with what."""
        self._causes: dict[Hashable, dict[int, Callable[[], None]]] = {}
        """By what is wrong, the episodes that make it so, and what repairs it."""

    def begin(self, state: Hashable, repair: Callable[[], None]) -> int:
        """`state` holds until `end` of what this returns and of all others that brought it about."""
        self._count += 1
        self._states[self._count] = state
        self._causes.setdefault(state, {})[self._count] = repair
        return self._count

    def end(self, episode: int) -> None:
        """Nothing happens if it has ended."""
        state = self._states.pop(episode, None)
        if state is None:
            return
        causes = self._causes[state]
        repair = causes.pop(episode)
        if not causes:
            del self._causes[state]
            repair()

    def end_state(self, state: Hashable) -> None:
        """Repair it, however many causes it has."""
        for episode in list(self._causes.get(state, ())):
            self.end(episode)

    def clear(self) -> None:
        """Forget all of them: everything was repaired otherwise."""
        self._states.clear()
        self._causes.clear()
