"""How full a pod is."""

from flowgate.saturation._adaptive import AdaptiveDetector
from flowgate.saturation._aimd import Aimd
from flowgate.saturation._combined import all_of, any_of
from flowgate.saturation._concurrency import ConcurrencyDetector
from flowgate.saturation._gradient import Gradient2
from flowgate.saturation._slow_start import slow_start
from flowgate.saturation._utilization import UtilizationDetector

__all__ = [
    "AdaptiveDetector",
    "Aimd",
    "ConcurrencyDetector",
    "Gradient2",
    "UtilizationDetector",
    "all_of",
    "any_of",
    "slow_start",
]
