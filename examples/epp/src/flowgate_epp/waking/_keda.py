"""KEDA's external scaler: a gRPC server that says whether there is demand, and how much.

How KEDA 2.17 to 2.19 uses it, as their sources have it:

- With a trigger of type ``external-push`` it holds one stream for each ScaledObject, and polls as well; with
  ``external`` it only polls. All triggers with the same ``scalerAddress`` share one connection.
- A pushed true scales from zero at once, to one replica or to ``minReplicaCount``; with replicas there it renews the
  time from which ``cooldownPeriod`` counts.
- A pushed false is ignored since 2.18 or 2.19. Before, it was weighed against a copy of the ScaledObject as old as
  KEDA's watch, whose cooldown may have long been over: pods of a pool that was busy until now went at once. So a stream
  here says true, or nothing.
- Each `pollingInterval` it asks GetMetricSpec, GetMetrics and then IsActive, and believes the last of them about zero
  replicas. Where one fails, the trigger is in error, and without ``fallback`` the replicas stay as they are.
- From one replica up the HPA decides, by GetMetrics. Of ints and floats it takes the float where that is more than 0.
- A stream that ends is opened again after 2 s, and each time after twice as long, up to 60 s, for as long as KEDA
  lives; since 2.19 an orderly end begins again at 2 s. Between them only polls find demand: streams are kept.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc

from flowgate_epp.extproc import start_listening
from flowgate_epp.waking._activity import Activity
from flowgate_epp.waking._demand import Demand, DemandMeter
from flowgate_epp.waking._settings import KedaSettings
from flowgate_epp.waking._trigger import Trigger, read_trigger
from flowgate_epp.waking._wire import MESSAGES, SERVICE

__all__ = ["KedaScaler"]

_PARTING: Final = 1.0
"""Seconds for calls that are open when the server stops."""
_STREAMS: Final = 1_000
_KEEPALIVE: Final = 30_000

_OPTIONS: Final = (
    # A second process at the same port is a mistake, not a helper.
    ("grpc.so_reuseport", 0),
    ("grpc.max_concurrent_streams", _STREAMS),
    # So that the streams of a KEDA that has vanished come to an end.
    ("grpc.keepalive_time_ms", _KEEPALIVE),
    ("grpc.keepalive_timeout_ms", _KEEPALIVE),
    ("grpc.keepalive_permit_without_calls", 1),
)


def _always() -> bool:
    return True


class KedaScaler:
    """Tells KEDA of the demand that a meter counts; subscribes to it at once.

    Active is a pool with demand, or one that had some within ``latch``. Only the leader knows: others answer
    UNAVAILABLE, upon which KEDA leaves the replicas as they are. Let the Service that KEDA is given lead to the leader
    alone, for KEDA stays with a connection that works.

    Args:
        meter: What counts the demand.
        settings: Where to listen, and what a replica is worth.
        is_leader: Whether this process is the one that decides; asked for each call, must return at once.
    """

    def __init__(
        self, meter: DemandMeter, settings: KedaSettings | None = None, *, is_leader: Callable[[], bool] = _always
    ) -> None:
        self._meter = meter
        self._settings = KedaSettings() if settings is None else settings
        self._is_leader = is_leader
        self._activity = Activity(self._settings.latch)
        self._streams: set[asyncio.Event] = set()
        self._is_stopping = False
        self._port = 0
        self._grpc: Any = None
        self._unsubscribe = meter.subscribe(self)

    @property
    def port(self) -> int:
        """The port that is listened at; 0 before `start`."""
        return self._port

    @property
    def open_streams(self) -> int:
        """How many triggers are connected, to be pushed."""
        return len(self._streams)

    @property
    def is_active(self) -> bool:
        """Whether there is demand, or was within the latch."""
        return self._activity.is_active

    def demand_changed(self, demand: Demand) -> None:
        """Push to all streams, if the pool has become active by this."""
        if self._activity.note(demand):
            for wake in self._streams:
                wake.set()

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: The address cannot be had.
            ValueError: The certificate's files cannot be used.
        """
        server = grpc.aio.server(options=_OPTIONS)
        unary: dict[str, tuple[str, Callable[[Any, Any], Awaitable[Any]]]] = {
            "IsActive": ("ScaledObjectRef", self._answer_is_active),
            "GetMetricSpec": ("ScaledObjectRef", self._answer_spec),
            "GetMetrics": ("GetMetricsRequest", self._answer_metrics),
        }
        methods = {
            name: grpc.unary_unary_rpc_method_handler(answer, MESSAGES[asked].FromString, _to_bytes)
            for name, (asked, answer) in unary.items()
        }
        methods["StreamIsActive"] = grpc.unary_stream_rpc_method_handler(
            self._push, MESSAGES["ScaledObjectRef"].FromString, _to_bytes
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
        self._port = await start_listening(server, self._settings, "waking.keda")
        self._grpc = server

    async def stop(self) -> None:
        """End all streams in order, answer what was asked, and listen no longer; more than once does no harm."""
        self._unsubscribe()
        self._is_stopping = True
        for wake in self._streams:
            wake.set()
        if self._grpc is not None:
            await self._grpc.stop(_PARTING)

    # -- what KEDA asks

    async def _answer_is_active(self, ref: Any, context: Any) -> Any:
        await self._trigger(ref, context)
        return MESSAGES["IsActiveResponse"](result=self._activity.is_active)

    async def _answer_spec(self, ref: Any, context: Any) -> Any:
        trigger = await self._trigger(ref, context)
        # The int is for a KEDA too old to know the float.
        told = {"targetSize": max(1, round(trigger.target)), "targetSizeFloat": trigger.target}
        return MESSAGES["GetMetricSpecResponse"](metricSpecs=[{"metricName": trigger.metric_name, **told}])

    async def _answer_metrics(self, request: Any, context: Any) -> Any:
        trigger = await self._trigger(request.scaledObjectRef, context)
        name = trigger.metric_name
        if request.metricName != name:
            wrong = f"metricName must be {name!r}, as GetMetricSpec told, not {request.metricName!r:.60}"
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, wrong)
        value = trigger.value(self._meter.demand, is_active=self._activity.is_active)
        told = {"metricValue": math.ceil(value), "metricValueFloat": value}
        return MESSAGES["GetMetricsResponse"](metricValues=[{"metricName": name, **told}])

    async def _push(self, ref: Any, context: Any) -> None:
        await self._trigger(ref, context)
        wake = asyncio.Event()
        if self._activity.is_active or self._is_stopping:
            wake.set()
        self._streams.add(wake)
        try:
            await context.send_initial_metadata(())  # the caller knows that it is heard
            while await self._is_due(wake):
                await self._check_leader(context)
                await context.write(MESSAGES["IsActiveResponse"](result=True))
        finally:
            self._streams.discard(wake)

    async def _is_due(self, wake: asyncio.Event) -> bool:
        """Wait until a stream is to be told that there is demand, and return True; False when we stop."""
        while True:
            try:
                async with asyncio.timeout(self._settings.reminder):
                    await wake.wait()
            except TimeoutError:
                if not self._activity.is_busy:  # true is not kept alive by what is over
                    continue
            wake.clear()
            return not self._is_stopping

    async def _trigger(self, ref: Any, context: Any) -> Trigger:
        await self._check_leader(context)
        try:
            return read_trigger(ref.scalerMetadata, self._settings)
        except ValueError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            raise  # pragma: no cover - abort does not return

    async def _check_leader(self, context: Any) -> None:
        if not self._is_leader():
            await context.abort(grpc.StatusCode.UNAVAILABLE, "another process leads: ask that one")


def _to_bytes(message: Any) -> bytes:
    return bytes(message.SerializeToString())
