"""What a label may hold: a short, printable text, whatever the client has sent."""

import hashlib

__all__ = ["OTHER", "clean_label"]

OTHER = "other"
"""The label of what found no place of its own."""

_LONGEST = 128
_DIGEST = 12


def clean_label(value: str) -> str:
    r"""Return a printable text of at most 128 characters.

    A value that has to be changed keeps its readable beginning, and gets a short digest, so that different ones hardly
    ever become the same.

    >>> clean_label("tenant-a")
    'tenant-a'
    >>> clean_label("a\nb")
    'a?b~5ccb5f677c3e'
    """
    if len(value) <= _LONGEST and value.isprintable():
        return value
    digest = hashlib.blake2b(value.encode(errors="surrogatepass"), digest_size=_DIGEST // 2).hexdigest()
    start = "".join(letter if letter.isprintable() else "?" for letter in value[: _LONGEST - _DIGEST - 1])
    return f"{start}~{digest}"
