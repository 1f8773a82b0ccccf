"""Names that clients choose, made fit for logs, labels and tables.

A fairness id is whatever a client writes: ten kilobytes, control characters, bytes that are no text. What goes into the
rest of the program is short and printable, and still tells any two of them apart.
"""

import hashlib
import re
from functools import lru_cache
from typing import Final

from flowgate import FlowKey

__all__ = ["clean_id", "flow_key"]

_LONGEST: Final = 128
_DIGEST_BYTES: Final = 8
_CLEAN: Final = re.compile(rf"[ -~]{{1,{_LONGEST}}}")
_MADE: Final = re.compile(rf"~[0-9a-f]{{{2 * _DIGEST_BYTES}}}\Z")
_DIRTY: Final = re.compile(r"[^ -~]")
_BEGINNING: Final = 64


def clean_id(text: str) -> str:
    r"""Return an id of 1 to 128 printable ASCII characters; different ones for different texts.

    A text that is one already stays as it is. Any other keeps its first 64 characters, with ``_`` for those that cannot
    be printed, and gets ``~`` and 16 hexadecimal digits of its digest.

    >>> clean_id("tenant-a")
    'tenant-a'
    >>> clean_id("line\nbreak")
    'line_break~d89269556270ce74'
    """
    # One that looks as if it was made here is made again, or a client could take another's name.
    if _CLEAN.fullmatch(text) and not _MADE.search(text):
        return text
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).hexdigest()
    return f"{_DIRTY.sub('_', text[:_BEGINNING])}~{digest}"


@lru_cache(maxsize=4_096)
def _known_key(flow_id: str, priority: int) -> FlowKey:
    return FlowKey(clean_id(flow_id), priority)


def flow_key(flow_id: str, priority: int) -> FlowKey:
    """Return the flow of a client's fairness id."""
    # Long ones are not remembered: they would be what the memory is full of.
    return _known_key(flow_id, priority) if len(flow_id) <= _LONGEST else FlowKey(clean_id(flow_id), priority)
