"""Bytes as they come, in lines."""

from collections.abc import Sequence

__all__ = ["Lines"]


class Lines:
    r"""Cuts bytes into lines of any length; each byte is looked at once, however many chunks a line comes in.

    >>> lines = Lines()
    >>> lines.feed(b'{"type":"ADD'), lines.feed(b'ED"}\n\n{"type"')
    ([], [b'{"type":"ADDED"}'])
    """

    def __init__(self) -> None:
        self._begun: list[bytes] = []

    def feed(self, chunk: bytes) -> Sequence[bytes]:
        """Return the lines that a chunk completes, without their ends, and without the empty ones."""
        *lines, rest = chunk.split(b"\n")
        if lines:
            lines[0] = b"".join((*self._begun, lines[0]))
            self._begun.clear()
        if rest:
            self._begun.append(rest)
        return [line for line in lines if line.strip()]
