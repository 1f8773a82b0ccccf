"""The front door: what users import is there, complete, and in order."""

import importlib
import tomllib
from importlib.metadata import metadata, requires, version
from pathlib import Path

import pytest

# These statements are the promise: they work as they stand.
from flowgate import (
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
    Ticket,
)
from flowgate.admission import FlowControlAdmissionController, LegacyAdmissionController, http_response
from flowgate.contracts import (
    AdmissionController,
    FlowControlRequest,
    InterFlowDispatchPolicy,
    IntraFlowDispatchPolicy,
    ItemComparator,
    Observer,
    PodLocator,
    QueueCapability,
    QueueItem,
    SafeQueue,
    SaturationDetector,
    UsageLimitPolicy,
)
from flowgate.locators import CachedPodLocator, PollingPodLocator, StaticPodLocator, SubsetPodLocator
from flowgate.policies import BestHead, EarliestDeadlineFirst, Fcfs, RoundRobin, SloDeadline
from flowgate.queues import ListQueue, PriorityQueue
from flowgate.saturation import ConcurrencyDetector, UtilizationDetector

PROMISED = {
    "flowgate": [
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
        Ticket,
    ],
    "flowgate.admission": [FlowControlAdmissionController, LegacyAdmissionController, http_response],
    "flowgate.contracts": [
        AdmissionController,
        FlowControlRequest,
        InterFlowDispatchPolicy,
        IntraFlowDispatchPolicy,
        ItemComparator,
        Observer,
        PodLocator,
        QueueCapability,
        QueueItem,
        SafeQueue,
        SaturationDetector,
        UsageLimitPolicy,
    ],
    "flowgate.locators": [CachedPodLocator, PollingPodLocator, StaticPodLocator, SubsetPodLocator],
    "flowgate.policies": [BestHead, EarliestDeadlineFirst, Fcfs, RoundRobin, SloDeadline],
    "flowgate.queues": [ListQueue, PriorityQueue],
    "flowgate.saturation": [ConcurrencyDetector, UtilizationDetector],
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
