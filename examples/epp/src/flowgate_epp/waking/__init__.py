"""Waking a pool that sleeps at zero, and saying how large it should be: demand, and who acts on it."""

from flowgate_epp.waking._activator import Activator, ActivatorSettings
from flowgate_epp.waking._demand import Demand, DemandMeter, DemandObserver, WorkUnit
from flowgate_epp.waking._keda import KedaScaler
from flowgate_epp.waking._settings import KedaSettings

__all__ = [
    "Activator",
    "ActivatorSettings",
    "Demand",
    "DemandMeter",
    "DemandObserver",
    "KedaScaler",
    "KedaSettings",
    "WorkUnit",
]
