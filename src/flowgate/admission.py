"""Two ways to admit: wait for pods, or look at once and shed. And what HTTP says to either."""

import math
from collections import deque
from collections.abc import Mapping
from contextlib import suppress

import anyio

from flowgate.audience import FailureLog
from flowgate.contracts import (
    Dropped,
    FlowControlRequest,
    FlowKey,
    PluginFailed,
    Pod,
    PodLocator,
    ReleaseResult,
    SaturationDetector,
)
from flowgate.controller import FlowController
from flowgate.errors import FlowControlError, error_of
from flowgate.outcomes import QueueOutcome
from flowgate.plugins import Watched, plugin_name
from flowgate.pods import PodState, PodTable
from flowgate.requests import read_request
from flowgate.responses import PR_1952, STANDARD, HttpResponse, ResponseTable, http_response
from flowgate.ticket import Ticket

__all__ = [
    "PR_1952",
    "STANDARD",
    "FlowControlAdmissionController",
    "HttpResponse",
    "LegacyAdmissionController",
    "ResponseTable",
    "http_response",
]


class FlowControlAdmissionController:
    """Admits lazily: a request waits with its metadata alone, and pods are resolved when it goes.

    Args:
        controller: Where requests wait.
    """

    def __init__(self, controller: FlowController) -> None:
        self._controller = controller

    async def admit(self, request: FlowControlRequest) -> Ticket:
        """Wait until the request may go on; see `FlowController.enqueue_and_wait`."""
        return await self._controller.enqueue_and_wait(request)


class LegacyAdmissionController:
    """Admits eagerly: pods are resolved at once, nothing is queued, and sheddable requests are shed.

    A request of negative priority is rejected when no pod is open. Everybody else passes with all candidates found,
    none included; whoever schedules answers 503 then. The least saturated candidate is charged.

    Args:
        locator: Resolves a request's metadata to pods.
        detector: Says how full a pod is.
    """

    def __init__(self, locator: PodLocator, detector: SaturationDetector) -> None:
        self._locator = locator
        self._failures = FailureLog()
        self._now = 0.0
        # Every arrival looks afresh, so nothing is polled and no announcement is needed.
        self._watch = Watched("locator", locator, self._clock, self._failed, math.inf)
        self._detector_watch = Watched("detector", detector, self._clock, self._failed, math.inf)
        self._watch.bind()
        self._detector_watch.bind()
        self._pods = PodTable(detector, self._detector_watch)
        self._named: tuple[PodState, ...] = ()
        self._fault: BaseException | None = None
        self._lost: deque[Ticket] = deque()

    async def admit(self, request: FlowControlRequest) -> Ticket:
        """Admit or shed a request, without waiting.

        Returns:
            A ticket with all candidates, the least saturated first.

        Raises:
            RequestRejected: The request is sheddable and no pod is open (REJECTED_SHED), or it has a bad value.
        """
        self._now = anyio.current_time()
        while self._lost:
            self._pods.release(self._lost.popleft(), "ignored", self._now)
        try:
            key, size, _, metadata = read_request(request)
        except Exception as error:  # a custom request may raise anything
            message = f"it has a bad value: {error}"
            raise self._error(request, None, 0, QueueOutcome.REJECTED_INVALID, message, error) from error
        self._detector_watch.epoch += 1
        states = self._locate(metadata)
        ranked = sorted(states, key=self._pods.read)  # stable: ties stay in the locator's order
        if key.priority < 0 and not (ranked and self._pods.read(ranked[0]) < 1.0):
            state = "no pod is open" if self._fault is None else "its candidates are unknown"
            raise self._error(
                request, key, size, QueueOutcome.REJECTED_SHED, f"it is sheddable, and {state}", self._fault
            )
        ticket = Ticket(self, request, None, (tuple(ranked),), 0.0, self._now)
        self._pods.charge(ticket, ranked[0] if ranked else None, self._now)
        return ticket

    def _locate(self, metadata: Mapping[str, object]) -> tuple[PodState, ...]:
        self._fault = None
        try:
            states = tuple(dict.fromkeys([self._pods.see(pod) for pod in self._locator.locate(metadata)]))
        except Exception as error:  # a plug-in may raise anything
            self._watch.fail(error)
            states = ()
            self._fault = error
        # The pods of the last answer are remembered, others only while tickets are charged to them.
        self._pods.name(states)
        self._pods.unname(self._named)
        self._named = states
        return states

    def _error(
        self,
        request: FlowControlRequest,
        key: FlowKey | None,
        size: int,
        outcome: QueueOutcome,
        message: str,
        cause: BaseException | None = None,
    ) -> FlowControlError:
        return error_of(Dropped(self._now, request, key, size, 0.0, outcome, message, cause))

    def _clock(self) -> float:
        return self._now

    def _failed(self, kind: str, plugin: object, error: BaseException) -> None:
        self._failures.write(PluginFailed(self._now, kind, plugin_name(plugin), error))

    # -- tickets report here

    def release_ticket(self, ticket: Ticket, result: ReleaseResult) -> None:
        """Take a ticket's charge back; `Ticket.release` calls it."""
        with suppress(RuntimeError):  # outside any event loop the time of the last arrival has to do
            self._now = anyio.current_time()
        self._pods.release(ticket, result, self._now)

    def settle_ticket(self, ticket: Ticket, cost: float) -> None:
        """Do nothing: where nobody waits, nobody shares by cost. `Ticket.settle` calls it."""

    def is_open(self, ticket: Ticket, state: PodState) -> bool:  # noqa: ARG002 - the contract's
        """Say yes: here every candidate may serve, however full."""
        return True

    def assign_ticket(self, ticket: Ticket, pod: Pod) -> None:
        """Move a ticket's charge; `Ticket.assign` calls it."""
        self._pods.move(ticket, pod, anyio.current_time())

    def explain_ticket(self, ticket: Ticket) -> None:
        """Say that nothing is kept; `Ticket.explanation` asks, and tells what the ticket knows."""

    def lose_ticket(self, ticket: Ticket) -> None:
        """Take the charge of a collected ticket back, at the next arrival; safe in any thread, at any point."""
        self._lost.append(ticket)
