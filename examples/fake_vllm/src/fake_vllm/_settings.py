"""How big a fake model server is, and how fast."""

import sys

import attrs
from attrs.validators import optional

from fake_vllm._checks import number, whole

__all__ = ["FakeVllmSettings"]


@attrs.frozen(kw_only=True)
class FakeVllmSettings:
    """One model server.

    Args:
        host: The address that it listens on.
        port: Its port; 0 for a free one.
        name: What it says of itself in ``x-served-by``; None for ``host:port``.
        model: The one model that it serves. A request that names another gets 404; one that names none is served.
        slots: Sequences that run at the same time.
        kv_blocks: Blocks of its KV cache.
        block_tokens: Tokens for which one block has room.
        max_waiting: Sequences that may wait for a slot; beyond that a request is refused with 503. None for no limit,
            as vLLM has none.
        ttft: Seconds from the slot to the first token.
        tpot: Seconds from one token to the next.
        jitter: How much both differ from request to request: 0.1 for ten percent more or less.
        eos_share: The chance of each token to end its text; 0.0 lets every text go on to ``max_tokens``.
        startup_delay: Seconds before its port opens, as vLLM opens its own only when the model is loaded.
        grace: Seconds that accepted requests have to finish after SIGTERM.
        seed: Where its chances start; the same seed and order of requests give the same texts, times and faults.

    Raises:
        ValueError: A value is out of its range.
        TypeError: A value has the wrong type.
    """

    host: str = "127.0.0.1"
    port: int = attrs.field(default=8000, validator=whole(0, 65_535))
    name: str | None = None
    model: str = "fake-model"
    slots: int = attrs.field(default=8, validator=whole(1))
    kv_blocks: int = attrs.field(default=1_000, validator=whole(1))
    block_tokens: int = attrs.field(default=16, validator=whole(1))
    max_waiting: int | None = attrs.field(default=None, validator=optional(whole(0)))
    ttft: float = attrs.field(default=0.05, validator=number(0))
    tpot: float = attrs.field(default=0.01, validator=number(0))
    jitter: float = attrs.field(default=0.0, validator=number(0, 1))
    eos_share: float = attrs.field(default=0.0, validator=number(0, 1))
    startup_delay: float = attrs.field(default=0.0, validator=number(0))
    grace: float = attrs.field(default=30.0, validator=number(0))
    seed: int = attrs.field(default=0, validator=whole(-sys.maxsize))

    def blocks(self, tokens: int) -> int:
        """Return how many blocks of the cache these tokens take."""
        return -(-tokens // self.block_tokens)
