"""Never run: each implementation is assigned to the contracts that it keeps, for the type checkers."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

from flowgate.contracts import (
    ChangeCallback,
    ClockBound,
    Pod,
    PodLocator,
    ReleaseAware,
    SaturationDetector,
    SelectionKeyed,
    TimeVarying,
    Watchable,
)
from flowgate.locators import CachedPodLocator, PollingPodLocator, StaticPodLocator, SubsetPodLocator
from flowgate.saturation import (
    AdaptiveDetector,
    Aimd,
    ConcurrencyDetector,
    Gradient2,
    UtilizationDetector,
    all_of,
    any_of,
    slow_start,
)


async def fetch() -> list[Pod]:
    return []


async def fetch_tuple() -> tuple[Pod, ...]:
    return ()


static = StaticPodLocator(pod for pod in [Pod("a", "10.0.0.1", 80)])
static_is_a_locator: PodLocator = static
static_is_keyed: SelectionKeyed = static
static_is_watchable: Watchable = static

polling = PollingPodLocator(fetch, interval=1)
polling_from_a_tuple = PollingPodLocator(fetch_tuple, interval=0.5, timeout=1)
polling_is_a_locator: PodLocator = polling
polling_is_keyed: SelectionKeyed = polling
polling_is_watchable: Watchable = polling
polling_is_clock_bound: ClockBound = polling
polling_is_a_context: AbstractAsyncContextManager[PollingPodLocator, None] = polling
staleness: float = polling.staleness

subset = SubsetPodLocator(static, empty_hint="all")
subset_is_a_locator: PodLocator = subset
subset_is_a_context: AbstractAsyncContextManager[SubsetPodLocator, bool | None] = subset
subset_may_be_keyed: Callable[[Mapping[str, object]], Hashable] | None = subset.selection_key
subset_may_be_watchable: Callable[[ChangeCallback], Callable[[], None]] | None = subset.subscribe
subset_may_be_clock_bound: Callable[[Callable[[], float]], None] | None = subset.bind
subset_may_vary_in_time: Callable[[], float | None] | None = subset.next_change
malformed: int = subset.malformed

cached = CachedPodLocator(subset, ttl=1, max_entries=10)
cached_is_a_locator: PodLocator = cached
cached_is_keyed: SelectionKeyed = cached
cached_is_clock_bound: ClockBound = cached
cached_is_a_context: AbstractAsyncContextManager[CachedPodLocator, bool | None] = cached
cached_may_be_watchable: Callable[[ChangeCallback], Callable[[], None]] | None = cached.subscribe
cached_may_vary_in_time: Callable[[], float | None] | None = cached.next_change
candidates: Sequence[Pod] = cached.locate({})

concurrency = ConcurrencyDetector(4)
concurrency_of_a_pod: SaturationDetector = ConcurrencyDetector(lambda pod: len(pod.labels))
concurrency_is_a_detector: SaturationDetector = concurrency
concurrency_is_watchable: Watchable = concurrency

utilization = UtilizationDetector(queue_depth_threshold=5, on_stale="ignore")
utilization_is_a_detector: SaturationDetector = utilization
utilization_is_watchable: Watchable = utilization
utilization_is_clock_bound: ClockBound = utilization
utilization_varies_in_time: TimeVarying = utilization

adaptive = AdaptiveDetector(Aimd(latency_threshold=2, backoff=0.5), initial=4, max_pods=100)
adaptive_by_gradient = AdaptiveDetector(Gradient2(tolerance=2, queue_size=4))
adaptive_is_a_detector: SaturationDetector = adaptive
adaptive_is_watchable: Watchable = adaptive
adaptive_is_clock_bound: ClockBound = adaptive
adaptive_learns: ReleaseAware = adaptive
limit: float = adaptive.limit_of(Pod("a", "10.0.0.1", 80))

fullest: SaturationDetector = any_of(concurrency, utilization, adaptive)
emptiest: SaturationDetector = all_of(concurrency, any_of(adaptive))
warming: SaturationDetector = slow_start(fullest, window=10, initial=0.2, steps=4, warm=[Pod("a", "10.0.0.1", 80)])
