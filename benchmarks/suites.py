"""All suites by name, in the order in which a run goes through them."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from benchmarks.churn import churn
from benchmarks.drain import drain
from benchmarks.fairness import choice
from benchmarks.idle import idle
from benchmarks.latency import latency
from benchmarks.matrix import matrix
from benchmarks.memory import memory
from benchmarks.paths import fast, queued
from benchmarks.peers import peers
from benchmarks.pods import pods
from benchmarks.rounds import Case, Figure, measure
from benchmarks.sizes import Sizes
from benchmarks.trio_path import trio
from benchmarks.upstream import beside

__all__ = ["SUITES", "Suite", "figures_of"]

Suite = Callable[[Sizes], Sequence[Sequence[Case]] | Sequence[Figure]]
"""Returns cases, of which those in one list are measured in alternating rounds; or figures, having measured itself."""


def _matrix(sizes: Sizes) -> Sequence[Figure]:
    figures = matrix(sizes)
    return figures + beside(figures)


SUITES: Mapping[str, Suite] = MappingProxyType(
    {
        "fast": fast,
        "queued": queued,
        "matrix": _matrix,
        "drain": drain,
        "choice": choice,
        "churn": churn,
        "pods": pods,
        "memory": memory,
        "latency": latency,
        "idle": idle,
        "trio": trio,
        "peers": peers,
    }
)
"""Every suite, by the name that ``--only`` takes."""


def figures_of(name: str, sizes: Sizes) -> list[Figure]:
    """Measure one suite."""
    figures: list[Figure] = []
    for part in SUITES[name](sizes):
        figures += [part] if isinstance(part, Figure) else measure(part, sizes.rounds)
    return figures
