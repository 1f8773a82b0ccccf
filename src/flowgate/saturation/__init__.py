"""How full a pod is."""

from flowgate.saturation._concurrency import ConcurrencyDetector
from flowgate.saturation._utilization import UtilizationDetector

__all__ = ["ConcurrencyDetector", "UtilizationDetector"]
