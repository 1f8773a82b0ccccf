"""Files that others replace: tokens, keys, certificates."""

import time
from pathlib import Path
from typing import Protocol

import attrs

from flowgate_epp.kubernetes._errors import CredentialsError

__all__ = ["Content", "FollowedFile", "Inline"]

_LOOK_EVERY = 60.0


class Content(Protocol):
    """Some bytes, perhaps secret: asked for before each request, and never shown."""

    def read(self) -> bytes:
        """Return what holds now.

        Raises:
            CredentialsError: There is none, and was none before.
        """
        ...

    def forget(self) -> None:
        """Hear that what was read was refused: look for something newer at the next `read`."""
        ...


@attrs.frozen
class Inline:
    """Bytes that never change."""

    content: bytes = attrs.field(repr=False)

    def read(self) -> bytes:
        """Return them."""
        return self.content

    def forget(self) -> None:
        """Do nothing: there are no others."""


@attrs.define(eq=False)
class FollowedFile:
    """A small file, read again once a minute, and at once when what it held was refused.

    One that vanishes, or turns empty, leaves in force what it held before.

    Args:
        path: The file.
        where: Where it was named, for error messages.
    """

    path: Path
    where: str
    _content: bytes = attrs.field(default=b"", init=False, repr=False)
    _look_at: float = attrs.field(default=0.0, init=False, repr=False)

    def read(self) -> bytes:
        """Return what the file holds, or has held up to a minute ago.

        Raises:
            CredentialsError: It cannot be read or is empty, and always was.
        """
        if not self._content or time.monotonic() >= self._look_at:
            self._look()
        return self._content

    def forget(self) -> None:
        """Read the file at the next `read`."""
        self._look_at = 0.0

    def _look(self) -> None:
        self._look_at = time.monotonic() + _LOOK_EVERY
        try:
            content, problem = self.path.read_bytes(), "is empty"
        except OSError as error:
            content, problem = b"", f"cannot be read: {error.strerror}"
        if content.strip():
            self._content = content
        elif not self._content:
            raise CredentialsError(f"{self.where}: the file {self.path} {problem}")
