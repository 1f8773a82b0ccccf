"""Pods that never change."""

import asyncio

import attrs

from flowgate_epp.contracts import PodSink
from flowgate_epp.pods._entries import PodEntry, distinct

__all__ = ["StaticPods"]


@attrs.frozen
class StaticPods:
    """Pods that stand in the configuration itself.

    Args:
        pods: The pods; no two at the same address and port.

    Raises:
        ValueError: Two pods share an address and port.
    """

    pods: tuple[PodEntry, ...] = attrs.field(validator=distinct)

    async def run(self, sink: PodSink) -> None:
        """Tell the sink of the pods, and wait until cancelled."""
        sink.set_pods(entry.to_pod() for entry in self.pods)
        await asyncio.Event().wait()
