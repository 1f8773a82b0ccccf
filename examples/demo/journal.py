"""What happened, in a few sentences, each with its time."""

from collections.abc import Callable

import attrs

__all__ = ["Journal", "Note"]


@attrs.frozen
class Note:
    """One sentence.

    Attributes:
        time: Seconds since the journal was opened.
        text: What happened.
    """

    time: float
    text: str


class Journal:
    """Collects notes.

    Args:
        clock: Gives seconds.

    Attributes:
        notes: All of them.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._opened = clock()
        self._told = 0
        self.notes: list[Note] = []

    @property
    def age(self) -> float:
        """Seconds since it was opened."""
        return self._clock() - self._opened

    def note(self, text: str) -> None:
        """Write down what happened just now."""
        self.notes.append(Note(self.age, text))

    def news(self) -> list[Note]:
        """Return the notes that were written since the last call."""
        told, self._told = self._told, len(self.notes)
        return self.notes[told:]
