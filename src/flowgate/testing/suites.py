"""Each contract's promises as tests, for classes of your own.

Subclass a suite under a name that pytest collects, and give it the one fixture that it asks for: that is all. A failed
test's name and first line say which promise is broken. Needs pytest and Hypothesis: the extra ``testing``.
"""

try:
    import hypothesis as _hypothesis  # noqa: F401 # pyright: ignore[reportUnusedImport] - some suites search
    import pytest as _pytest  # noqa: F401, PT013 # pyright: ignore[reportUnusedImport]
except ModuleNotFoundError as _missing:
    raise ImportError(
        f"flowgate.testing.suites needs {_missing.name}: pip install 'flowgate-admission[testing]'", name=_missing.name
    ) from _missing

from flowgate.testing._admission_suite import AdmissionControllerSuite, AdmissionFactory
from flowgate.testing._detector_suite import DetectorFactory, SaturationDetectorSuite
from flowgate.testing._dispatch_suite import DispatchPolicySuite
from flowgate.testing._fairness_bounds import BoundedFairnessPolicy
from flowgate.testing._fairness_suite import BoundedFairnessSuite, FairnessPolicySuite
from flowgate.testing._items import QueueFactory
from flowgate.testing._locator_suite import LocatorRig, PodLocatorSuite, RigFactory
from flowgate.testing._machine import engine_machine
from flowgate.testing._queue_suite import SafeQueueSuite

__all__ = [
    "AdmissionControllerSuite",
    "AdmissionFactory",
    "BoundedFairnessPolicy",
    "BoundedFairnessSuite",
    "DetectorFactory",
    "DispatchPolicySuite",
    "FairnessPolicySuite",
    "LocatorRig",
    "PodLocatorSuite",
    "QueueFactory",
    "RigFactory",
    "SafeQueueSuite",
    "SaturationDetectorSuite",
    "engine_machine",
]
