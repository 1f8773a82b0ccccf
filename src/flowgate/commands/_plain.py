"""Keeps what others chose from doing anything to a terminal."""

__all__ = ["printable"]

_LONGEST = 500


def printable(text: str) -> str:
    r"""Return one line that is safe on a terminal: escaped where it is not printable, and cut after 500 characters.

    >>> printable("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    cut = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in cut)
