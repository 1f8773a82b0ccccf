"""Our locators, alone and inside each other, keep the promises of every locator."""

from collections.abc import Sequence

import anyio
import pytest

from flowgate.contracts import Pod
from flowgate.locators import CachedPodLocator, PollingPodLocator, StaticPodLocator, SubsetPodLocator
from flowgate.testing import run_in_virtual_time
from flowgate.testing.suites import LocatorRig, PodLocatorSuite, RigFactory
from tests.locators.plain import KeyedLocator, PlainLocator


def static(pods: Sequence[Pod]) -> LocatorRig:
    locator = StaticPodLocator(pods)
    return LocatorRig(locator, locator.set_pods)


def subset(pods: Sequence[Pod]) -> LocatorRig:
    pool = StaticPodLocator(pods)
    return LocatorRig(SubsetPodLocator(pool), pool.set_pods)


def subset_of_a_plain_one(pods: Sequence[Pod]) -> LocatorRig:
    plain = PlainLocator(tuple(pods))

    def set_pods(pods: Sequence[Pod]) -> None:
        plain.pods = tuple(pods)

    return LocatorRig(SubsetPodLocator(plain), set_pods)


def cached(pods: Sequence[Pod]) -> LocatorRig:
    pool = StaticPodLocator(pods)
    return LocatorRig(CachedPodLocator(pool), pool.set_pods)


def cached_silent(pods: Sequence[Pod]) -> LocatorRig:
    inner = KeyedLocator(list(pods))

    def set_pods(pods: Sequence[Pod]) -> None:
        inner.pods = list(pods)

    return LocatorRig(CachedPodLocator(inner), set_pods)


def cached_subset(pods: Sequence[Pod]) -> LocatorRig:
    pool = StaticPodLocator(pods)
    return LocatorRig(CachedPodLocator(SubsetPodLocator(pool, empty_hint="all"), max_entries=2), pool.set_pods)


def subset_of_cached(pods: Sequence[Pod]) -> LocatorRig:
    pool = StaticPodLocator(pods)
    return LocatorRig(SubsetPodLocator(CachedPodLocator(pool)), pool.set_pods)


def polling(pods: Sequence[Pod]) -> LocatorRig:
    answer = list(pods)

    async def fetch() -> list[Pod]:
        return answer

    locator = PollingPodLocator(fetch, interval=1)

    async def poll_once() -> None:
        async with locator:
            await anyio.sleep(0.5)

    def set_pods(pods: Sequence[Pod]) -> None:
        answer[:] = pods
        run_in_virtual_time(poll_once)

    rig = LocatorRig(locator, set_pods)
    set_pods(pods)
    return rig


@pytest.fixture(
    params=[
        static,
        subset,
        subset_of_a_plain_one,
        cached,
        cached_silent,
        cached_subset,
        subset_of_cached,
        polling,
    ]
)
def make_rig(request: pytest.FixtureRequest) -> RigFactory:
    factory: RigFactory = request.param
    return factory


class TestLocators(PodLocatorSuite):
    """All of them, made alike."""
