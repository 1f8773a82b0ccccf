"""The front door: what users import is there, complete, and in order."""

import importlib
import tomllib
from importlib.metadata import metadata, requires, version
from pathlib import Path

import pytest

# These statements are the promise: they work as they stand.
from flowgate import (
    BandShares,
    FlowControlConfig,
    FlowControlError,
    FlowController,
    FlowKey,
    Pod,
    PodLoad,
    PodMetrics,
    PriorityBandConfig,
    QueueOutcome,
    Request,
    RequestEvicted,
    RequestRejected,
    RetryAfter,
    Ticket,
)
from flowgate.admission import FlowControlAdmissionController, LegacyAdmissionController, http_response
from flowgate.configfile import ConfigError, Problem, Settings, load_config, load_settings
from flowgate.contracts import (
    AdmissionController,
    Costed,
    FlowControlRequest,
    InterFlowDispatchPolicy,
    IntraFlowDispatchPolicy,
    ItemComparator,
    Observer,
    PodLocator,
    QueueCapability,
    QueueItem,
    ReleaseAware,
    SafeQueue,
    SaturationDetector,
    UsageLimitPolicy,
)
from flowgate.locators import CachedPodLocator, PollingPodLocator, StaticPodLocator, SubsetPodLocator
from flowgate.policies import (
    BestHead,
    DeficitRoundRobin,
    EarliestDeadlineFirst,
    Fcfs,
    LeastAttainedService,
    PriorityHoldback,
    RoundRobin,
    SloDeadline,
    SoftReflectiveCeiling,
    StartTimeFairQueuing,
    StaticUsageLimit,
    VirtualTokenCounter,
)
from flowgate.queues import ListQueue, PriorityQueue
from flowgate.saturation import (
    AdaptiveDetector,
    ConcurrencyDetector,
    UtilizationDetector,
    all_of,
    any_of,
    slow_start,
)
from flowgate.testing import (
    Callers,
    ManualDetector,
    PodPool,
    Recorder,
    VirtualClock,
    VirtualTimeLoop,
    assert_idle,
    make_pods,
    run_in_virtual_time,
)

PROMISED = {
    "flowgate": [
        BandShares,
        FlowControlConfig,
        FlowController,
        FlowControlError,
        FlowKey,
        Pod,
        PodLoad,
        PodMetrics,
        PriorityBandConfig,
        QueueOutcome,
        Request,
        RequestEvicted,
        RequestRejected,
        RetryAfter,
        Ticket,
    ],
    "flowgate.admission": [FlowControlAdmissionController, LegacyAdmissionController, http_response],
    "flowgate.configfile": [ConfigError, Problem, Settings, load_config, load_settings],
    "flowgate.contracts": [
        AdmissionController,
        Costed,
        FlowControlRequest,
        InterFlowDispatchPolicy,
        IntraFlowDispatchPolicy,
        ItemComparator,
        Observer,
        PodLocator,
        QueueCapability,
        QueueItem,
        ReleaseAware,
        SafeQueue,
        SaturationDetector,
        UsageLimitPolicy,
    ],
    "flowgate.locators": [CachedPodLocator, PollingPodLocator, StaticPodLocator, SubsetPodLocator],
    "flowgate.policies": [
        BestHead,
        DeficitRoundRobin,
        EarliestDeadlineFirst,
        Fcfs,
        LeastAttainedService,
        PriorityHoldback,
        RoundRobin,
        SloDeadline,
        SoftReflectiveCeiling,
        StartTimeFairQueuing,
        StaticUsageLimit,
        VirtualTokenCounter,
    ],
    "flowgate.queues": [ListQueue, PriorityQueue],
    "flowgate.saturation": [AdaptiveDetector, ConcurrencyDetector, UtilizationDetector, all_of, any_of, slow_start],
    "flowgate.testing": [
        Callers,
        ManualDetector,
        PodPool,
        Recorder,
        VirtualClock,
        VirtualTimeLoop,
        assert_idle,
        make_pods,
        run_in_virtual_time,
    ],
}
ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("package", PROMISED)
def test_all_is_sorted_without_doubles_and_importable(package: str) -> None:
    module = importlib.import_module(package)
    exported = list(module.__all__)
    # As the linter sorts: constants, then classes, then functions.
    assert exported == sorted(set(exported), key=lambda name: (not name.isupper(), name[0].islower(), name))
    assert all(hasattr(module, name) for name in exported)


@pytest.mark.parametrize("package", PROMISED)
def test_all_names_what_is_promised(package: str) -> None:
    assert {part.__name__ for part in PROMISED[package]} <= set(importlib.import_module(package).__all__)


@pytest.mark.parametrize("package", PROMISED)
def test_all_leaves_out_no_public_name_of_the_package(package: str) -> None:
    module = importlib.import_module(package)
    defined = {
        name
        for name, value in vars(module).items()
        if getattr(value, "__module__", "").startswith(f"{package}._") and not name.startswith("_")
    }
    assert defined <= set(module.__all__)


def test_the_front_door_s_own_contracts_are_the_contracts_package_s() -> None:
    contracts = importlib.import_module("flowgate.contracts")
    for part in (FlowKey, Pod, PodLoad, PodMetrics):
        assert getattr(contracts, part.__name__) is part


def test_the_installed_version_is_the_declared_one() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert version("flowgate-admission") == declared["version"]
    assert metadata("flowgate-admission")["Requires-Python"] == declared["requires-python"]


def test_the_library_depends_on_four_packages_and_no_others() -> None:
    needed = [line for line in requires("flowgate-admission") or [] if "extra ==" not in line]
    names = {line.split(">")[0].split("<")[0].strip() for line in needed}
    assert names == {"anyio", "attrs", "sortedcontainers", "typing-extensions"}
