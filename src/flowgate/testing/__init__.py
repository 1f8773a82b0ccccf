"""For the tests of those who use or extend flowgate: fakes, and virtual time.

Nothing here needs pytest, Hypothesis or trio; `flowgate.testing.suites`, each contract's promises as tests, needs the
first two.
"""

from flowgate.testing._callers import Caller, Callers, assert_idle
from flowgate.testing._clock import VirtualClock, run_in_virtual_time, until_blocked, virtual_backend
from flowgate.testing._detector import ManualDetector
from flowgate.testing._items import Flow, Item
from flowgate.testing._pods import PodPool, make_pods
from flowgate.testing._recorder import Recorder
from flowgate.testing._virtual_time import VirtualTimeLoop

__all__ = [
    "Caller",
    "Callers",
    "Flow",
    "Item",
    "ManualDetector",
    "PodPool",
    "Recorder",
    "VirtualClock",
    "VirtualTimeLoop",
    "assert_idle",
    "make_pods",
    "run_in_virtual_time",
    "until_blocked",
    "virtual_backend",
]
