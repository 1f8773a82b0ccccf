"""What is generated, and when each token comes: the same for the same seed and order of requests."""

import asyncio
import random
from collections.abc import Sequence

from fake_vllm._openai import Asked
from fake_vllm._settings import FakeVllmSettings

__all__ = ["Pace", "until"]

_WORDS = (" the", " a", " pod", " queue", " token", " waits", " runs", " ends", " and", " then")


async def until(moment: float) -> None:
    """Sleep until the loop's clock shows a moment; return at once if it has passed."""
    if (seconds := moment - asyncio.get_running_loop().time()) > 0:
        await asyncio.sleep(seconds)


class Pace:
    """The chances of one request.

    Args:
        settings: The server's.
        number: How many came before it.
    """

    def __init__(self, settings: FakeVllmSettings, number: int) -> None:
        self._settings = settings
        self._chances = random.Random(f"{settings.seed} {number}")
        self._speed = 1.0 + settings.jitter * self._chances.uniform(-1.0, 1.0)

    def words(self, asked: Asked) -> list[list[str]]:
        """Make up the texts, one list of tokens for each."""
        return [self._text(asked) for _ in range(asked.n)]

    def _text(self, asked: Asked) -> list[str]:
        eos = 0.0 if asked.ignores_eos else self._settings.eos_share
        words: list[str] = []
        while len(words) < asked.max_tokens:
            words.append(self._chances.choice(_WORDS))
            if self._chances.random() < eos:
                break
        return words

    def moments(self, start: float, steps: int, slower: float = 0.0) -> Sequence[float]:
        """Return when each step is done, on the clock of `start`.

        Args:
            start: When the request got its slot.
            steps: How many steps it takes.
            slower: Seconds by which each takes longer.
        """
        first = start + self._settings.ttft * self._speed + slower
        gap = self._settings.tpot * self._speed + slower
        return [first + gap * step for step in range(steps)]
