"""Admission first, then the pick: the path of every request."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from flowgate import FlowControlError, Pod, QueueOutcome
from flowgate.admission import http_response
from flowgate.contracts import AdmissionController, AdmissionTicket, PodLocator
from flowgate_epp.contracts import Decision, DecisionListener, Inbound, Refusal
from flowgate_epp.director._courses import Course
from flowgate_epp.director._intake import Intake, InvalidRequest
from flowgate_epp.director._objectives import Objectives, StaticObjectives
from flowgate_epp.director._requests import GatewayRequest
from flowgate_epp.director._reservations import PodReservation, is_same_endpoint
from flowgate_epp.director._settings import DirectorSettings
from flowgate_epp.scheduling import Faults, InferenceRequest, Schedules

__all__ = ["Director"]

_log = logging.getLogger("flowgate_epp.director")

_BAD_REQUEST: Final = 400
_CLIENT_GONE: Final = 499


class Director:
    """Decides on each request: reads it, waits until flowgate lets it go, and picks one of the pods it may go to.

    Pods are looked for only once the request is admitted. Between that and the answer nothing is awaited, so what the
    locator says then is what the answer is made of, and no cancellation falls between a ticket and its reservation.

    Args:
        admission: Holds requests, or lets them pass.
        locator: The same that `admission` asks, to check that its candidates are still there.
        scheduler: Picks one of them.
        settings: How requests are read and answered; None for the defaults.
        objectives: The priorities; None: there are none, and all requests have the default one.
        listeners: Told of each decision.

    Attributes:
        served_elsewhere: Requests that another endpoint has served than the one picked.
        faults: Failures of the scheduler, of the locator when asked a second time, and of listeners.
    """

    def __init__(
        self,
        admission: AdmissionController,
        locator: PodLocator,
        scheduler: Schedules,
        settings: DirectorSettings | None = None,
        objectives: Objectives | None = None,
        listeners: Sequence[DecisionListener] = (),
    ) -> None:
        settings = DirectorSettings() if settings is None else settings
        self.served_elsewhere: int = 0
        self.faults: Faults = Faults("flowgate_epp.director")
        self._admission = admission
        self._locator = locator
        self._scheduler = scheduler
        closed: Any = getattr(scheduler, "closed", None)
        self._closed: Callable[[Pod], None] | None = closed if callable(closed) else None
        self._intake = Intake(settings, StaticObjectives() if objectives is None else objectives)
        self._table = settings.table
        self._listeners = tuple(listeners)
        # The locator's last answer, and its members: most answers are the same tuple as the one before.
        self._answer: Sequence[Pod] | None = None
        self._members: frozenset[Pod] = frozenset()

    async def decide(self, inbound: Inbound) -> PodReservation | Refusal:
        """Hold a request until it may go on, and say where to.

        Returns:
            The slot of a pod, to be closed when the response has ended; or why the request is not to go on.
        """
        told = Course(inbound) if self._listeners else None
        try:
            request = self._intake.read(inbound)
        except InvalidRequest as error:
            invalid = http_response(QueueOutcome.REJECTED_INVALID, table=self._table)
            refusal = Refusal(_BAD_REQUEST, invalid.reason, str(error), invalid.headers)
            return self._refuse(told, error.request, QueueOutcome.REJECTED_INVALID, refusal)
        try:
            ticket = await self._admission.admit(request)
        except FlowControlError as error:
            answer = http_response(error, table=self._table)
            refusal = Refusal(answer.status, answer.reason, str(error), answer.headers)
            return self._refuse(told, request, error.outcome, refusal)
        except asyncio.CancelledError:
            if told is not None:
                gone = Refusal(_CLIENT_GONE, "cancelled", "its client has gone")
                self._tell(told.refused(request, QueueOutcome.EVICTED_CANCELLED, gone))
            raise
        try:
            return self._place(inbound, request, ticket, told)
        except BaseException:
            ticket.release("ignored")
            raise

    def _place(
        self, inbound: Inbound, request: GatewayRequest, ticket: AdmissionTicket, told: Course | None
    ) -> PodReservation | Refusal:
        if told is not None:
            told.admitted()
        # Of the requests that one pass lets go, those that resumed first may have taken what was open to this one.
        candidates = self._still_there(ticket.open_candidates(), request.get_metadata())
        if not candidates:
            return self._refuse_unplaced(told, request, ticket, "the pods that it might have gone to are gone")
        try:
            pod = self._scheduler.schedule(
                InferenceRequest(request.key, inbound.headers, request.model, request.size, inbound.body), candidates
            )
            closed = self._closed
        except Exception as error:  # a scheduler may raise anything
            self.faults.note("scheduler", self._scheduler, error)
            pod, closed = candidates[0], None
        if pod is None:
            return self._refuse_unplaced(told, request, ticket, "no pod there is may serve it")
        if pod not in self._members:
            self.faults.note(
                "scheduler", self._scheduler, "chose a pod that is none of the locator's: the first candidate"
            )
            pod, closed = candidates[0], None
        reservation = PodReservation(ticket, pod, closed, self._elsewhere)
        try:
            if pod is not ticket.pod and pod != ticket.pod:
                ticket.assign(pod)
            if told is not None:
                self._tell(told.placed(request, pod))
        except BaseException:
            reservation.close(is_complete=False)
            raise
        return reservation

    def _still_there(self, candidates: Sequence[Pod], metadata: Mapping[str, object]) -> Sequence[Pod]:
        try:
            pods = self._locator.locate(metadata)
            if pods is not self._answer:
                self._members = frozenset(pods)
                # What can change is looked at anew each time.
                self._answer = pods if type(pods) is tuple else None
        except Exception as error:  # a plug-in may raise anything; the ticket's candidates were there just now
            self.faults.note("locator", self._locator, error)
            self._members, self._answer = frozenset(candidates), None
            return candidates
        members = self._members
        return [pod for pod in candidates if pod in members]

    def _elsewhere(self, request_id: str, picked: str, served: str) -> Pod | None:
        self.served_elsewhere += 1
        level = logging.WARNING if self.served_elsewhere == 1 else logging.DEBUG
        _log.log(level, "request %s was sent to %s and served by %s", request_id, picked, served)
        try:
            pods = self._locator.locate({})
        except Exception as error:  # a plug-in may raise anything; the charge stays where it is
            self.faults.note("locator", self._locator, error)
            return None
        return next((pod for pod in pods if is_same_endpoint(pod.endpoint, served)), None)

    def _refuse_unplaced(
        self, told: Course | None, request: GatewayRequest, ticket: AdmissionTicket, message: str
    ) -> Refusal:
        ticket.release("ignored")
        answer = http_response(QueueOutcome.EVICTED_NO_PODS, table=self._table)
        refusal = Refusal(
            answer.status, answer.reason, f"request {request.request_id()!r} was let go, but {message}", answer.headers
        )
        return self._refuse(told, request, QueueOutcome.DISPATCHED, refusal)

    def _refuse(self, told: Course | None, request: GatewayRequest, outcome: QueueOutcome, refusal: Refusal) -> Refusal:
        if told is not None:
            self._tell(told.refused(request, outcome, refusal))
        return refusal

    def _tell(self, decision: Decision) -> None:
        for listener in self._listeners:
            try:
                listener(decision)
            except Exception as error:  # a listener may raise anything
                self.faults.note("listener", listener, error)
