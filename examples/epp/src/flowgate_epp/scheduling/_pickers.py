"""Pickers: the best, or the better the likelier."""

import random
from collections.abc import Sequence

import attrs

from flowgate import Pod
from flowgate.validators import instance_of

__all__ = ["MaxScore", "WeightedRandom"]

# Sums of the same scores in another order differ by less.
_SAME = 1e-9


@attrs.frozen
class MaxScore:
    """The pod with the highest score; which one of several, chance decides.

    Args:
        rng: Where chance comes from; a source of its own by default.
    """

    rng: random.Random = attrs.field(factory=random.Random, eq=False, repr=False, validator=instance_of(random.Random))

    @property
    def name(self) -> str:
        """``"max-score"``."""
        return "max-score"

    def pick(self, scored: Sequence[tuple[Pod, float]]) -> Pod:
        """Return one of the best."""
        enough = max([score for _, score in scored]) - _SAME
        best = [pod for pod, score in scored if score >= enough]
        # random() costs a fifth of choice(), and is as fair for the number of pods there are.
        return best[0] if len(best) == 1 else best[int(self.rng.random() * len(best))]


@attrs.frozen
class WeightedRandom:
    """Any pod, each as likely as its score says: twice the score, twice as often. All the same where all score 0.

    It spreads load where several pickers, which do not know of each other, see the same scores.

    Args:
        rng: Where chance comes from; a source of its own by default.
    """

    rng: random.Random = attrs.field(factory=random.Random, eq=False, repr=False, validator=instance_of(random.Random))

    @property
    def name(self) -> str:
        """``"weighted-random"``."""
        return "weighted-random"

    def pick(self, scored: Sequence[tuple[Pod, float]]) -> Pod:
        """Return one, by chance."""
        pods = [pod for pod, _ in scored]
        scores = [score for _, score in scored]
        return self.rng.choices(pods, scores if any(scores) else None)[0]
