"""What a scheduler may know of a request."""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

from flowgate import FlowKey

__all__ = ["InferenceRequest"]

# In JSON a quotation mark inside a text is escaped, so this finds a key and never what somebody wrote in a prompt.
_PROMPT: Final = re.compile(rb'"(?:messages|prompt|input)"\s*:')
_SEARCHED = 65_536


class InferenceRequest:
    """What a scheduler may know of a request; it lives as long as the pick takes.

    Args:
        flow_key: Whose it is, and its priority.
        headers: By lower-case name.
        model: The model asked for; empty where that is not known.
        byte_size: Of the prompt, in bytes.
        body: The whole body; None where there is none to see.

    >>> request = InferenceRequest(FlowKey("a"), {}, "m", 0, b'{"prompt": "' + b"x" * 100 + b'"}')
    >>> len(request.prompt_blocks(32, most=8))
    3
    """

    # Hand-written and slotted: one is made for each pick.
    __slots__ = ("_blocks", "_body", "byte_size", "flow_key", "headers", "model")

    def __init__(
        self,
        flow_key: FlowKey,
        headers: Mapping[str, str],
        model: str = "",
        byte_size: int = 0,
        body: bytes | None = None,
    ) -> None:
        self.flow_key: FlowKey = flow_key
        self.headers: Mapping[str, str] = headers
        self.model: str = model
        self.byte_size: int = byte_size
        self._body = body
        self._blocks: tuple[tuple[int, int], Sequence[int]] | None = None

    def prompt_blocks(self, block_bytes: int, most: int) -> Sequence[int]:
        """Return the prompt's beginning as numbers, one for each full block of bytes.

        Each number stands for its block, all blocks before it, and the model: two requests share their first n numbers
        where their prompts begin with the same n blocks. The bytes are those of the JSON text from the prompt's (or the
        messages') key on, which a client writes in the same way each time. The numbers differ between processes.

        Args:
            block_bytes: Bytes of a block.
            most: How many blocks to look at.
        """
        asked = block_bytes, most
        if self._blocks is None or self._blocks[0] != asked:
            self._blocks = asked, self._hash_blocks(block_bytes, most)
        return self._blocks[1]

    def _hash_blocks(self, block_bytes: int, most: int) -> Sequence[int]:
        body = self._body
        found = None if body is None else _PROMPT.search(body, 0, _SEARCHED)
        if body is None or found is None:
            return ()
        # Python's own hash of bytes is quick, and its key is secret to the process: nobody can make up collisions.
        number = hash(self.model)
        starts = range(found.end(), len(body) + 1, block_bytes)[: most + 1]
        blocks: list[int] = []
        for start, end in pairwise(starts):
            number = hash((number, body[start:end]))
            blocks.append(number)
        return blocks

    def __repr__(self) -> str:
        return f"InferenceRequest({self.flow_key!r}, model={self.model!r}, byte_size={self.byte_size})"
