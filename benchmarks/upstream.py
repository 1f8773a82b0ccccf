"""What the Go engine's own benchmark printed for cells of its matrix, and our figures beside it.

These are absolute figures of two programs, so they say something on a quiet machine of the same kind, and only there.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import attrs

from benchmarks.rounds import Figure, Spread

__all__ = ["PRINTED", "SOURCE", "Printed", "beside"]

SOURCE = "Go, printed by its own benchmark on a machine of the same kind"
"""What the figures are, in all places that show them."""

_HELD = ", held"


@attrs.frozen
class Printed:
    """One cell of the Go engine's matrix, in nanoseconds by the clock for one cycle of "enqueue, wait, release".

    Args:
        one: With one processor.
        two: With two.
    """

    one: int
    two: int

    @property
    def best(self) -> int:
        """The better of the two."""
        return min(self.one, self.two)


PRINTED: Mapping[str, Printed] = MappingProxyType(
    {
        "L=0 P=1 F=10 W=10": Printed(8_269, 8_449),
        "L=0 P=8 F=10 W=10": Printed(16_760, 12_075),
        "L=0 P=1 F=5,000 W=10": Printed(18_500, 9_149),
        "L=0 P=8 F=5,000 W=10": Printed(23_912, 17_814),
        "L=1 P=1 F=10 W=10": Printed(20_471, 15_940),
        "L=1 P=8 F=5,000 W=10": Printed(25_587, 28_913),
        "L=1 P=1 F=10 W=5,000": Printed(30_052, 189_710),
        "L=100 P=1 F=10 W=5,000": Printed(16_596, 484_928),
        "L=100 P=1 F=5,000 W=5,000": Printed(20_614, 204_892),
        "L=100 P=8 F=5,000 W=5,000": Printed(24_726, 142_243),
    }
)
"""By the names that our cells have, without how long a slot is held. Other work disturbed those with one slot."""


def beside(figures: Sequence[Figure]) -> list[Figure]:
    """Return our wall time as a multiple of the better of the Go engine's two, for each cell that both have.

    Only of the held variant: else our callers hardly ever find a slot taken.
    """
    compared: list[Figure] = []
    for figure in figures:
        printed = PRINTED.get(figure.name.removesuffix(_HELD)) if figure.name.endswith(_HELD) else None
        if printed is not None and figure.wall is not None:
            wall, best = figure.wall, printed.best / 1e3
            ratio = Spread(wall.median / best, wall.low / best, wall.high / best)
            versus = f"{SOURCE}: {printed.best:,} ns"
            compared.append(Figure(figure.name, "µs wall", wall, versus, ratio, target=1.0))
    return compared
