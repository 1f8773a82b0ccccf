"""A scorer for prompts that begin alike: the pod that read the beginning has it in its cache.

Each block of a prompt's beginning has a number that stands for all blocks before it, too (`prompt_blocks`), and the
index knows for each number the pods that were sent such a prompt. So a walk along a new prompt's numbers keeps the set
of pods that had all blocks so far, and ends when that is empty: at once, for a prompt that nobody has seen. The set is
the bits of one integer, for then a step costs the same for one pod as for a hundred.
"""

from collections import OrderedDict
from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Final

import attrs

from flowgate import Pod
from flowgate.validators import at_least
from flowgate_epp.scheduling._requests import InferenceRequest

__all__ = ["PrefixAffinity"]

_MAX_PODS: Final = 4_096


@attrs.define(eq=False)
class PrefixAffinity:
    """A pod scores the share of the prompt's blocks, from the first on, that it was sent before.

    It learns from picks, and cannot see what a pod's cache has thrown out since. It needs the body; requests without
    one, or with less than one block of prompt, score 0.0 everywhere. Time is O(blocks + pods), memory O(`max_blocks`).

    Args:
        block_bytes: Bytes of a block; about four make a token.
        prompt_blocks: How many blocks of a prompt are looked at, from the first on.
        max_blocks: How many blocks are remembered, of all prompts; those not seen for longest are forgotten first.

    Raises:
        ValueError: One of them is less than 1 (`block_bytes`: 16).
    """

    block_bytes: int = attrs.field(default=256, validator=at_least(16))
    prompt_blocks: int = attrs.field(default=128, validator=at_least(1))
    max_blocks: int = attrs.field(default=100_000, validator=at_least(1))
    _index: OrderedDict[int, int] = attrs.field(factory=OrderedDict[int, int], init=False, repr=False)
    _bits: dict[Pod, int] = attrs.field(factory=dict[Pod, int], init=False, repr=False)

    @property
    def name(self) -> str:
        """``"prefix-affinity"``."""
        return "prefix-affinity"

    def score(self, request: InferenceRequest, pods: Sequence[Pod]) -> Sequence[float]:
        """Score by the share of blocks that a pod has seen."""
        blocks = request.prompt_blocks(self.block_bytes, self.prompt_blocks)
        if not blocks:
            return [0.0] * len(pods)
        bits = [self._bits.get(pod, 0) for pod in pods]
        alive = reduce(or_, bits, 0)
        scores = dict.fromkeys(bits, 0.0)
        for seen, block in enumerate(blocks):
            before = alive
            alive &= self._index.get(block, 0)
            if alive != before:
                self._score_lost(scores, before & ~alive, seen / len(blocks))
            if not alive:
                break
        self._score_lost(scores, alive, 1.0)
        return [scores[bit] for bit in bits]

    def _score_lost(self, scores: dict[int, float], lost: int, share: float) -> None:
        for bit in scores:
            if bit & lost:
                scores[bit] = share

    def picked(self, request: InferenceRequest, pod: Pod) -> None:
        """Remember that the pod was sent this prompt."""
        blocks = request.prompt_blocks(self.block_bytes, self.prompt_blocks)
        if not blocks:
            return
        bit = self._bit_of(pod)
        index = self._index
        # The last block first, so that a prompt's beginning, which others share, is forgotten last.
        for block in reversed(blocks):
            index[block] = index.get(block, 0) | bit
            index.move_to_end(block)
        while len(index) > self.max_blocks:
            index.popitem(last=False)

    def _bit_of(self, pod: Pod) -> int:
        bit = self._bits.get(pod)
        if bit is None:
            if len(self._bits) == _MAX_PODS:  # pods come and go; to forget all is cheaper than to tell which are gone
                self._bits.clear()
                self._index.clear()
            bit = self._bits[pod] = 1 << len(self._bits)
        return bit
