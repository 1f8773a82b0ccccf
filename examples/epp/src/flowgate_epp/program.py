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
from flowgate_epp.config import EppSettings
from flowgate_epp.contracts import DecisionListener
from flowgate_epp.director import Director, DirectorSettings, GatewayRequest
from flowgate_epp.extproc import Certificates, ExtProcServer
from flowgate_epp.pods import PodStore
from flowgate_epp.scheduling import Scheduler
from flowgate_epp.scraping import Scraper
from flowgate_epp.telemetry import Exposition, FlowMetrics, Logs, PodReading, Readings, start_tracing

__all__ = ["EndpointPicker", "check_startable", "run"]

_logger = logging.getLogger("flowgate_epp")

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
    """

    def __init__(self, settings: EppSettings, listeners: Sequence[DecisionListener] = ()) -> None:
        loop = asyncio.get_running_loop()
        self._settings = settings
        self.store: PodStore = PodStore()
        self._locator = SubsetPodLocator(self.store, empty_hint=settings.director.empty_subset)
        self._metrics = FlowMetrics(settings.telemetry.metrics, model_of=_model_of, clock=loop.time)
        self._board = Board(self._metrics, pool=settings.telemetry.metrics.pool)
        self._scraper = None if settings.scraper is None else Scraper(settings.scraper, self.store)
        self.controller, admission = self._make_admission()
        self._metrics.connect(
            Readings(
                stats=self.controller.stats,
                pods=self._read_pods,
                scrape_failures=self._scrape_failures,
                plugin_failures=self._plugin_failures,
            )
        )
        self._scheduler = Scheduler(settings.scheduler)
        self._director = Director(
            admission,
            self._locator,
            self._scheduler,
            _without_longer_waits(settings),
            settings.objectives,
            [self._metrics.decided, self._board.decided, *listeners],
        )
        self.server: ExtProcServer = ExtProcServer(self._director, settings.server)
        exposition = Exposition(self._metrics, settings.telemetry.metrics)
        self.admin: AdminServer = AdminServer(self._board, exposition.render, self.not_ready, settings.admin)
        self._is_listening = False
        self._is_serving = False
        self._is_draining = False

    def not_ready(self) -> Sequence[str]:
        """Say why no requests should be sent here, a sentence each; nothing when they should."""
        reasons: list[str] = []
        if not self._is_listening:
            reasons.append("the server for Envoy does not listen yet")
        if not self.store.is_synced:
            reasons.append("the pods are not known yet")
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
            OSError: An address cannot be listened at.
            ValueError: A certificate cannot be used.
        """
        async with AsyncExitStack() as parts:
            await parts.enter_async_context(self.controller)
            await self.admin.start()
            parts.push_async_callback(self.admin.stop)
            await self.server.start()
            parts.push_async_callback(self.server.shutdown, 0.0)
            self._is_listening = True
            _logger.info("listening for Envoy at port %d, for everybody else at %d", self.server.port, self.admin.port)
            async with asyncio.TaskGroup() as tasks:
                background = [tasks.create_task(self._settings.pods.run(self.store), name="pods")]
                if self._scraper is not None:
                    background.append(tasks.create_task(self._scraper.run(), name="scraper"))
                background.append(tasks.create_task(self._tell_when_ready(), name="readiness"))
                await stop.wait()
                await self._drain(stop)
                for task in background:
                    task.cancel()

    async def _tell_when_ready(self) -> None:
        await self.store.synced()
        await self.server.set_serving(is_serving=True)
        self._is_serving = True
        _logger.info("ready, with %d pods", len(self.store.pods))

    async def _drain(self, stop: asyncio.Event) -> None:
        stop.clear()
        self._is_draining = True
        seconds = self._settings.server.drain_timeout
        waiting = self.controller.stats().queued_requests
        _logger.info("shutting down, within %g s: %d requests wait", seconds, waiting)
        draining = asyncio.ensure_future(self._let_end(seconds))
        hurry: asyncio.Task[object] = asyncio.create_task(stop.wait())
        await asyncio.wait([draining, hurry], return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if not draining.done():
            _logger.warning("told again to stop: not waiting any longer")
            await self.controller.aclose()
            await self.server.shutdown(0.0)
        await draining
        _logger.info("stopped")

    async def _let_end(self, seconds: float) -> None:
        await asyncio.gather(self.server.shutdown(seconds), self.controller.drain(seconds))

    def _make_admission(self) -> tuple[FlowController, AdmissionController]:
        settings = self._settings
        if settings.admission == "legacy":
            # The controller only stands for counts that stay at zero.
            idle = FlowController(
                settings.flow_control.config, locator=StaticPodLocator(), detector=ConcurrencyDetector(1)
            )
            return idle, LegacyAdmissionController(self._locator, settings.detector)
        controller = settings.flow_control.new_controller(
            locator=self._locator, detector=settings.detector, observers=[self._metrics]
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
