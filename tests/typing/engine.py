"""Never run: the type checkers see here that the engine keeps its contracts."""

from collections.abc import Mapping, Sequence

from flowgate import FlowController, Request, Ticket
from flowgate.admission import FlowControlAdmissionController, LegacyAdmissionController
from flowgate.contracts import (
    AdmissionController,
    AdmissionTicket,
    FlowControlRequest,
    FlowKey,
    FlowQueueView,
    QueueItem,
    UsageLimitPolicy,
)
from flowgate.items import Item
from flowgate.lanes import FlowQueue
from flowgate.ticket import TicketOwner


class _CustomRequest:
    def request_id(self) -> str:
        return "one"

    def flow_key(self) -> FlowKey:
        return FlowKey("a")

    def byte_size(self) -> int:
        return 0

    def initial_effective_ttl(self) -> float | None:
        return None

    def get_metadata(self) -> Mapping[str, object]:
        return {}


class _CustomLimit:
    def ceilings(self, saturation: float, priorities: Sequence[int]) -> list[float]:
        return [saturation for _ in priorities]


def requests(plain: Request, custom: _CustomRequest) -> tuple[FlowControlRequest, ...]:
    return plain, custom


def admission(
    lazy: FlowControlAdmissionController, eager: LegacyAdmissionController
) -> tuple[AdmissionController, ...]:
    return lazy, eager


def owners(controller: FlowController, legacy: LegacyAdmissionController) -> tuple[TicketOwner, ...]:
    return controller, legacy


def views(item: Item, queue: FlowQueue, ticket: Ticket) -> tuple[QueueItem, FlowQueueView, AdmissionTicket]:
    return item, queue, ticket


def limits(limit: _CustomLimit) -> UsageLimitPolicy:
    return limit


async def held(controller: FlowController, request: FlowControlRequest) -> AdmissionTicket:
    async with controller.admitted(request) as ticket:
        return ticket
