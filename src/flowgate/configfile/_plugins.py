"""Plug-ins by name: what installed packages offer under flowgate's entry points."""

from collections.abc import Collection, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Final

import attrs
import typing_extensions

from flowgate.config import QueueFactory
from flowgate.configfile._problems import INVALID, Place
from flowgate.configfile._words import either, known
from flowgate.contracts import (
    InterFlowDispatchPolicy,
    IntraFlowDispatchPolicy,
    PodLocator,
    QueueSelector,
    SaturationDetector,
    UsageLimitPolicy,
)

__all__ = ["KINDS", "QUEUE", "PluginKind", "find_plugin"]


@attrs.frozen
class PluginKind:
    """One kind of plug-in, which files name and packages register.

    Args:
        noun: What messages call it.
        group: The entry points' group.
        contracts: What it may be: the Protocols, any of them, by which a field is annotated.

    >>> kind = PluginKind("queue", "flowgate.queues", (QueueFactory,))
    >>> sorted(kind.names)
    ['list', 'priority']
    """

    noun: str
    group: str
    contracts: tuple[object, ...]

    @property
    def names(self) -> Collection[str]:
        """What installed packages registered."""
        return entry_points(group=self.group).names

    def lacks(self, plugin: object) -> Sequence[str]:
        """Return what an object lacks of the contract that it is nearest to; nothing if it keeps one."""
        lacking = [
            sorted(member for member in typing_extensions.get_protocol_members(contract) if not hasattr(plugin, member))
            for contract in self.contracts
            if isinstance(contract, type)
        ]
        return min(lacking, key=len)


QUEUE: Final = PluginKind("queue", "flowgate.queues", (QueueFactory,))

KINDS: Final = (
    PluginKind("dispatch policy", "flowgate.dispatch_policies", (IntraFlowDispatchPolicy,)),
    PluginKind("fairness policy", "flowgate.fairness_policies", (InterFlowDispatchPolicy, QueueSelector)),
    PluginKind("saturation detector", "flowgate.saturation_detectors", (SaturationDetector,)),
    PluginKind("locator", "flowgate.locators", (PodLocator,)),
    PluginKind("usage limit", "flowgate.usage_limits", (UsageLimitPolicy,)),
    QUEUE,
)


def find_plugin(kind: PluginKind, name: str, place: Place) -> object:
    """Import what packages registered under a name; INVALID once its problem is noted.

    Only what is asked for is imported, so a broken package harms nobody who does not use it.
    """
    offered = entry_points(group=kind.group)
    found = [entry for entry in offered if entry.name == name]
    if not found:
        others = [f"a {other.noun}" for other in KINDS if name in other.names]
        told = f' ("{name}" is {either(others)})' if others else ""
        return place.refuse(f'there is no {kind.noun} "{name}"{told}; {known(name, kind.names)}')
    if len(found) > 1:
        owners = " and ".join(sorted(_distribution(entry) for entry in found))
        return place.refuse(f'the {kind.noun} "{name}" is registered by {owners}: uninstall all but one')
    try:
        target: object = found[0].load()
    except Exception as error:  # an import may raise anything
        reason = f"{found[0].value} cannot be imported: {type(error).__name__}: {error}"
        return place.refuse(f'the {kind.noun} "{name}" of {_distribution(found[0])} is broken: {reason}')
    if not callable(target):
        return _no_factory(kind, found[0], place)
    return target


def _no_factory(kind: PluginKind, entry: EntryPoint, place: Place) -> object:
    place.refuse(
        f'the {kind.noun} "{entry.name}" of {_distribution(entry)} is broken: {entry.value} is no class or factory'
    )
    return INVALID


def _distribution(entry: EntryPoint) -> str:
    return "an unknown distribution" if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"
