"""From a request's metadata to the pods that may serve it."""

from flowgate.locators._cached import CachedPodLocator
from flowgate.locators._polling import PollingPodLocator
from flowgate.locators._static import StaticPodLocator
from flowgate.locators._subset import SubsetPodLocator

__all__ = ["CachedPodLocator", "PollingPodLocator", "StaticPodLocator", "SubsetPodLocator"]
