"""The program: every part made, wired, started and stopped in order."""

import asyncio
import logging
import signal
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Final

import attrs

from flowgate import FlowController, Pod
from flowgate.admission import FlowControlAdmissionController, LegacyAdmissionController
from flowgate.contracts import AdmissionController, FlowControlRequest
from flowgate.locators import StaticPodLocator, SubsetPodLocator
from flowgate.saturation import ConcurrencyDetector
from flowgate_epp.admin import AdminServer, Board
from flowgate_epp.cluster import Cluster
from flowgate_epp.config import EppSettings
from flowgate_epp.contracts import Decides, DecisionListener
from flowgate_epp.director import Director, DirectorSettings, GatewayRequest
from flowgate_epp.extproc import Certificates, ExtProcServer
from flowgate_epp.leadership import LeaderOnly, LeadershipLost
from flowgate_epp.pods import PodStore
from flowgate_epp.scheduling import Scheduler
from flowgate_epp.scraping import Scraper
from flowgate_epp.telemetry import Exposition, FlowMetrics, Logs, PodReading, Readings, start_tracing
from flowgate_epp.waking import DemandMeter, KedaScaler

__all__ = ["EndpointPicker", "check_startable", "run"]

_logger = logging.getLogger("flowgate_epp")

_UNTIL_ENVOY_HAS_NOTICED: Final = 4.0
"""Seconds, half of them for each of two things to notice: its health checks come once in a second."""
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class EndpointPicker:
    """All parts of one Endpoint Picker, for one event loop.

    Args:
        settings: What the program was told; they make one picker, for some plug-ins hold state.
        listeners: Told of each decision, beside the metrics and the page.

    Attributes:
        store: The pool of pods.
        controller: Where requests wait; in legacy admission nothing does.
        server: Where Envoy finds us.
        admin: Where everybody else does.
        cluster: What it does with a cluster.
        keda: Where KEDA finds us; None where it is not to.
    """

    def __init__(self, settings: EppSettings, listeners: Sequence[DecisionListener] = ()) -> None:
        loop = asyncio.get_running_loop()
        self._settings = settings
        self.store: PodStore = PodStore()
        self._locator = SubsetPodLocator(self.store, empty_hint=settings.director.empty_subset)
        self._metrics = FlowMetrics(
            settings.telemetry.metrics, model_of=_model_of, clock=loop.time, answers=settings.director.table
        )
        self._board = Board(self._metrics, pool=settings.telemetry.metrics.pool)
        self._scraper = None if settings.scraper is None else Scraper(settings.scraper, self.store)
        self._meter = DemandMeter(settings.waking.work)
        self.cluster: Cluster = Cluster(settings, self._meter)
        self.controller, admission = self._make_admission()
        self._metrics.connect(
            Readings(
                stats=self.controller.stats,
                pods=self._read_pods,
                scrape_failures=self._scrape_failures,
                plugin_failures=self._plugin_failures,
                demand=lambda: self._meter.demand,
                is_leader=self.cluster.is_leader,
                activator_writes=self.cluster.activator_writes,
                kubernetes_failures=self.cluster.kubernetes_failures,
            )
        )
        self._scheduler = Scheduler(settings.scheduler)
        self._director = Director(
            admission,
            self._locator,
            self._scheduler,
            _without_longer_waits(settings),
            self.cluster.objectives,
            [self._metrics.decided, self._board.decided, *listeners],
        )
        decides: Decides = self._director if self.cluster.election is None else LeaderOnly(self._director, self)
        self.server: ExtProcServer = ExtProcServer(decides, settings.server)
        exposition = Exposition(self._metrics, settings.telemetry.metrics)
        self.admin: AdminServer = AdminServer(
            self._board, exposition.render, self.not_ready, settings.admin, explain=self.controller.explain
        )
        keda = settings.waking.keda
        self.keda: KedaScaler | None = (
            None if keda is None else KedaScaler(self._meter, keda, is_leader=self.cluster.is_leader)
        )
        self._is_listening = False
        self._is_serving = False
        self._is_draining = False
        self._loss: LeadershipLost | None = None

    @property
    def is_leader(self) -> bool:
        """Whether new requests are taken: by the leader, and until it has stopped by one that has resigned."""
        return self.cluster.is_leader() or (self._is_draining and self._is_serving and not self.is_lost)

    @property
    def is_lost(self) -> bool:
        """Whether somebody else may lead, though nobody was asked to take over."""
        election = self.cluster.election
        return election is not None and election.is_lost

    def not_ready(self) -> Sequence[str]:
        """Say why no requests should be sent here, a sentence each; nothing when they should."""
        reasons: list[str] = []
        if not self._is_listening:
            reasons.append("the server for Envoy does not listen yet")
        if not self.store.is_synced:
            reasons.append("the pods are not known yet")
        elif not self.cluster.is_leader():
            reasons.append("another endpoint picker leads, or nobody does yet")
        elif not self._is_serving:
            reasons.append("Envoy is not told yet that we serve")
        if self._is_draining:
            reasons.append("shutting down")
        return reasons

    async def serve(self, stop: asyncio.Event) -> None:
        """Serve until told to stop; then take nothing new, let what waits go or tell it 503, and end.

        Args:
            stop: Set to stop; cleared and set once more, to stop at once.

        Raises:
            OSError: An address cannot be listened at, or the cluster's credentials cannot be read.
            ValueError: A certificate or credentials cannot be used.
            LeadershipLost: Somebody else may lead; all that waited was told so.
        """
        async with AsyncExitStack() as parts:
            await parts.enter_async_context(self.controller)
            await parts.enter_async_context(self.cluster)
            await self.admin.start()
            parts.push_async_callback(self.admin.stop)
            await self.server.start()
            parts.push_async_callback(self.server.shutdown, 0.0)
            if self.keda is not None:
                await self.keda.start()
                parts.push_async_callback(self.keda.stop)
            self._is_listening = True
            _logger.info("listening for Envoy at port %d, for everybody else at %d", self.server.port, self.admin.port)
            async with asyncio.TaskGroup() as tasks:
                background = [tasks.create_task(self.cluster.pods.run(self.store), name="pods")]
                for name, part in self.cluster.background().items():
                    background.append(tasks.create_task(part(), name=name))
                background.append(tasks.create_task(self._lead(stop), name="election"))
                if self._scraper is not None:
                    background.append(tasks.create_task(self._scraper.run(), name="scraper"))
                background.append(tasks.create_task(self._tell_when_ready(), name="readiness"))
                await stop.wait()
                await self._drain(stop)
                for task in background:
                    task.cancel()
        if self._loss is not None:
            raise self._loss

    async def _lead(self, stop: asyncio.Event) -> None:
        if self.cluster.election is None:
            return
        try:
            await self.cluster.election.run()
        except LeadershipLost as loss:
            _logger.critical("%s: those who wait are told to come again, and the program ends", loss)
            self._loss = loss
            stop.set()

    async def _tell_when_ready(self) -> None:
        await self.store.synced()
        if self.cluster.election is not None:
            _logger.info("standing by, with %d pods", len(self.store.pods))
            await self.cluster.election.leading()
        await self.server.set_serving(is_serving=True)
        self._is_serving = True
        _logger.info("ready, with %d pods", len(self.store.pods))

    async def _drain(self, stop: asyncio.Event) -> None:
        stop.clear()
        self._is_draining = True
        seconds = 0.0 if self._loss is not None else self._settings.server.drain_timeout
        waiting = self.controller.stats().queued_requests
        _logger.info("shutting down, within %g s: %d requests wait", seconds, waiting)
        hurry: asyncio.Task[object] = asyncio.create_task(stop.wait())
        draining = asyncio.ensure_future(self._let_end(seconds, hurry))
        await asyncio.wait([draining, hurry], return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if not draining.done():
            _logger.warning("told again to stop: not waiting any longer")
            await self.controller.aclose()
            await self.server.shutdown(0.0)
        await draining
        _logger.info("stopped")

    async def _let_end(self, seconds: float, hurry: "asyncio.Task[object]") -> None:
        if self._loss is None:
            await self._hand_over(hurry)
        await asyncio.gather(self.server.shutdown(seconds), self.controller.drain(seconds))

    def _lame_duck(self) -> float:
        seconds = self._settings.server.lame_duck
        if seconds is None:
            return 0.0 if self.cluster.election is None else _UNTIL_ENVOY_HAS_NOTICED
        return seconds

    async def _hand_over(self, hurry: "asyncio.Task[object]") -> None:
        """Let somebody else lead, and Envoy go there: given time to find the other before it leaves us."""
        seconds = self._lame_duck() if self._is_serving else 0.0
        if self.cluster.election is not None:
            await self.cluster.election.resign()
            seconds /= 2
            await asyncio.wait([hurry], timeout=seconds)
        await self.server.set_serving(is_serving=False)
        await asyncio.wait([hurry], timeout=seconds)

    def _make_admission(self) -> tuple[FlowController, AdmissionController]:
        settings = self._settings
        if settings.admission == "legacy":
            # The controller only stands for counts that stay at zero.
            idle = FlowController(
                settings.flow_control.config, locator=StaticPodLocator(), detector=ConcurrencyDetector(1)
            )
            return idle, LegacyAdmissionController(self._locator, settings.detector)
        controller = settings.flow_control.new_controller(
            locator=self._locator,
            detector=settings.detector,
            observers=[self._metrics, self._meter],
            explain_last=max(settings.flow_control.config.explain_last, settings.admin.explain_last),
        )
        return controller, FlowControlAdmissionController(controller)

    def _read_pods(self) -> Sequence[PodReading]:
        told = self.controller.pod_stats(self.store.pods)
        return [PodReading(each.pod, each.in_flight, each.saturation) for each in told]

    def _plugin_failures(self) -> Mapping[tuple[str, str], int]:
        return self._scheduler.faults.counts + self._director.faults.counts

    def _scrape_failures(self) -> Mapping[Pod, int]:
        if self._scraper is None:
            return {}
        return {pod: status.failures for pod, status in self._scraper.status().items()}


def check_startable(settings: EppSettings) -> None:
    """Try what a file alone does not show: certificates that can be read, and extras that are installed.

    Raises:
        ValueError: A certificate cannot be used.
        TracingUnavailable: Tracing is enabled, and OpenTelemetry is not installed.
    """
    if settings.server.tls is not None:
        Certificates(settings.server.tls)
    keda = settings.waking.keda
    if keda is not None and keda.tls is not None:
        Certificates(keda.tls, "waking.keda")
    tracing = start_tracing(settings.telemetry.tracing)
    if tracing is not None:
        tracing.close()


async def run(settings: EppSettings) -> None:
    """Run one Endpoint Picker until SIGTERM or SIGINT; a second one ends it at once.

    Raises:
        OSError: An address cannot be listened at.
        ValueError: A certificate cannot be used.
        TracingUnavailable: Tracing is enabled, and OpenTelemetry is not installed.
    """
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    with Logs(settings.telemetry.log) as logs:
        tracing = start_tracing(settings.telemetry.tracing)
        listeners = [listener for listener in (logs.decision_log(), tracing) if listener is not None]
        try:
            picker = EndpointPicker(settings, listeners)
            for number in _SIGNALS:
                loop.add_signal_handler(number, stop.set)
            await picker.serve(stop)
        finally:
            if tracing is not None:
                await asyncio.to_thread(tracing.close)


def _without_longer_waits(settings: EppSettings) -> DirectorSettings:
    """Return the director's settings, so bounded that no client waits longer than those who ask for nothing may."""
    config = settings.flow_control.config
    longest = max(config.default_ttl, config.empty_pool_ttl)
    return attrs.evolve(settings.director, max_ttl=min(settings.director.max_ttl, longest))


def _model_of(request: FlowControlRequest) -> str:
    return request.model if isinstance(request, GatewayRequest) else ""
