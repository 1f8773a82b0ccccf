"""What is counted as requests come and go: little, for it happens for each of them."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import product

import attrs

from flowgate import QueueOutcome
from flowgate.admission import STANDARD, ResponseTable
from flowgate.contracts import Dispatched, Dropped, Enqueued, FlowControlRequest, Observer, PassEnded
from flowgate.stats import ControllerStats
from flowgate_epp.contracts import Decision
from flowgate_epp.telemetry._readings import PodReading, Readings, pool_saturation
from flowgate_epp.telemetry._series import Histogram, Series, SeriesTable
from flowgate_epp.telemetry._settings import MetricsSettings
from flowgate_epp.telemetry._table import PASS_BUCKETS
from flowgate_epp.waking import Demand

__all__ = ["FlowMetrics", "Reading"]

_DISPATCHED = QueueOutcome.DISPATCHED
_INVALID = QueueOutcome.REJECTED_INVALID
_GOES_ON = 200


@attrs.frozen
class Reading:
    """Everything that there is to tell, at one moment.

    Attributes:
        time: Seconds of the controller's clock.
        stats: The controller's counts.
        pods: The pool's pods.
        saturation: How full the pool is.
        series: What is told by flow.
        drops: How many requests were told not to go on, by reason and HTTP status.
        refusals: Each reason and status that is told, be it at zero.
        passes: What dispatch passes took, in seconds.
        picks: What picking a pod took, in seconds.
        scrape_failures: By pod's name and endpoint.
        plugin_failures: By the plug-in's kind and name, the controller's among them.
        demand: What waits and what runs.
        is_leader: Whether this process decides.
        activator_writes: By what became of them.
        kubernetes_failures: By what is followed.
    """

    time: float
    stats: ControllerStats
    pods: tuple[PodReading, ...]
    saturation: float
    series: tuple[Series, ...]
    drops: dict[tuple[str, int], int]
    refusals: tuple[tuple[str, int], ...]
    passes: Histogram
    picks: Histogram
    scrape_failures: dict[tuple[str, str], int]
    plugin_failures: dict[tuple[str, str], int]
    demand: Demand
    is_leader: bool
    activator_writes: Mapping[str, int]
    kubernetes_failures: Mapping[str, int]


def _why(reason: str | None, outcome: QueueOutcome) -> str:
    return reason or outcome.value


def _refusals(answers: ResponseTable) -> tuple[tuple[str, int], ...]:
    told = [(_why(reason, outcome), status) for outcome, (status, reason) in answers.items() if outcome != _DISPATCHED]
    # Let go, and no pod left then: answered as one that lost its pods while it waited.
    status, reason = answers[QueueOutcome.EVICTED_NO_PODS]
    return (*told, (_why(reason, _DISPATCHED), status))


def _no_model(_request: FlowControlRequest) -> str:
    return ""


class FlowMetrics(Observer):
    """Counts what happens in flow control: an observer of the controller, and a listener for decisions.

    Whatever the controller counts anyway is read from it when somebody asks. Give it to the controller as an observer,
    its `decided` to the director as a listener, and `connect` it before it is read.

    Args:
        settings: How many series there may be.
        model_of: Says which model a request asks for; called once or twice for each. None where that is not known.
        clock: The controller's, in seconds.
        answers: How refusals are answered, so that each reason and status is told at zero before it happens.
    """

    def __init__(
        self,
        settings: MetricsSettings | None = None,
        *,
        model_of: Callable[[FlowControlRequest], str] | None = None,
        clock: Callable[[], float] = time.monotonic,
        answers: ResponseTable = STANDARD,
    ) -> None:
        self._settings = MetricsSettings() if settings is None else settings
        self._model_of = _no_model if model_of is None else model_of
        self._clock = clock
        self._readings: Readings | None = None
        self._series = SeriesTable(self._settings.max_label_values, self._settings.flows, self._settings.models)
        self._refusals = _refusals(answers)
        self._drops: dict[tuple[str, int], int] = {}
        self._passes = Histogram(PASS_BUCKETS)
        self._picks = Histogram(PASS_BUCKETS)

    def connect(self, readings: Readings) -> None:
        """Say where to read what is not counted here."""
        self._readings = readings

    # -- what the controller tells

    def on_enqueued(self, event: Enqueued) -> None:
        """Count a request that waits."""
        item = event.item
        key = item.flow_key
        self._series.enter((key.id, key.priority, self._model_of(item.request)), item.byte_size, event.time)

    def on_dispatched(self, event: Dispatched) -> None:
        """Count a request that goes."""
        flow = event.flow_key
        key = flow.id, flow.priority, self._model_of(event.request)
        series = self._series.leave(key, event.byte_size) if event.waited else self._series.find(key)
        series.ended(_DISPATCHED, event.queue_wait, event.time)

    def on_dropped(self, event: Dropped) -> None:
        """Count a request that is refused, rejected or evicted."""
        flow = event.flow_key
        if flow is None or event.outcome is _INVALID:
            return  # its model, or its priority, may be anything; the controller counts it
        key = flow.id, flow.priority, self._model_of(event.request)
        series = self._series.leave(key, event.byte_size) if event.outcome.is_evicted else self._series.find(key)
        series.ended(event.outcome, event.queue_wait, event.time)

    def on_pass(self, event: PassEnded) -> None:
        """Note how long a dispatch pass took."""
        self._passes.observe(event.seconds)

    # -- what the director tells

    def decided(self, decision: Decision) -> None:
        """Count a decision."""
        if decision.pick_seconds:
            self._picks.observe(decision.pick_seconds)
        if decision.status != _GOES_ON:
            which = _why(decision.reason, decision.outcome), decision.status
            self._drops[which] = self._drops.get(which, 0) + 1

    # -- what others ask

    def read(self) -> Reading:
        """Read everything. O(series + bands + pods).

        Raises:
            RuntimeError: It is not connected yet.
        """
        if self._readings is None:
            raise RuntimeError("metrics must be connected to a controller before they are read")
        now, stats, pods = self._clock(), self._readings.stats(), tuple(self._readings.pods())
        models = ("", *self._settings.models)
        self._series.pin(product(self._settings.flows, stats.bands, models))
        self._series.forget_idle(now - self._settings.idle_after)
        failures: dict[tuple[str, str], int] = {}
        for pod, count in self._readings.scrape_failures().items():
            which = pod.name, pod.endpoint
            failures[which] = failures.get(which, 0) + count
        return Reading(
            time=now,
            stats=stats,
            pods=pods,
            saturation=pool_saturation(pods),
            series=tuple(self._series),
            drops=dict(self._drops),
            refusals=self._refusals,
            passes=self._passes,
            picks=self._picks,
            scrape_failures=failures,
            plugin_failures=dict(Counter(stats.plugin_failures) + Counter(self._readings.plugin_failures())),
            demand=self._readings.demand(),
            is_leader=self._readings.is_leader(),
            activator_writes=self._readings.activator_writes(),
            kubernetes_failures=self._readings.kubernetes_failures(),
        )
