"""vLLM's metrics, as far as a gateway reads them."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily

from fake_vllm._engine import Engine
from fake_vllm._settings import FakeVllmSettings

__all__ = ["Meters"]

_LABELS = ("engine", "model_name")
_BUCKETS = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class Meters:
    """Counters and gauges under vLLM's names, with its labels.

    Args:
        settings: The server's.
        engine: Whose queue and cache the gauges show.
    """

    def __init__(self, settings: FakeVllmSettings, engine: Engine) -> None:
        self._registry = registry = CollectorRegistry()
        labels = ("0", settings.model)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"vllm:{name}", text, _LABELS, registry=registry).labels(*labels)

        def counter(name: str, text: str) -> Counter:
            return Counter(f"vllm:{name}", text, _LABELS, registry=registry).labels(*labels)

        def histogram(name: str, text: str) -> Histogram:
            return Histogram(f"vllm:{name}", text, _LABELS, registry=registry, buckets=_BUCKETS).labels(*labels)

        gauge("num_requests_running", "Sequences that run.").set_function(lambda: engine.running)
        gauge("num_requests_waiting", "Sequences that wait for a slot.").set_function(lambda: engine.waiting)
        gauge("kv_cache_usage_perc", "Share of the KV cache in use; 1 is all.").set_function(lambda: engine.cache_usage)
        self._prompt_tokens = counter("prompt_tokens", "Tokens of prompts.")
        self._generation_tokens = counter("generation_tokens", "Tokens generated.")
        self._queue_seconds = histogram("request_queue_time_seconds", "From arrival to the slot.")
        self._ttft_seconds = histogram("time_to_first_token_seconds", "From arrival to the first token.")
        self._e2e_seconds = histogram("e2e_request_latency_seconds", "From arrival to the last token.")
        success = Counter(
            "vllm:request_success", "Texts by how they ended.", (*_LABELS, "finished_reason"), registry=registry
        )
        self._ended = {reason: success.labels(*labels, reason) for reason in ("length", "stop", "abort")}
        info = GaugeMetricFamily(
            "vllm:cache_config_info", "The KV cache's size.", labels=("block_size", "engine", "num_gpu_blocks")
        )
        info.add_metric((str(settings.block_tokens), "0", str(settings.kv_blocks)), 1.0)
        registry.register(_Constant(info))

    def started(self, prompt_tokens: int, queued: float) -> None:
        """Count a request that got its slot, `queued` seconds after it came."""
        self._prompt_tokens.inc(prompt_tokens)
        self._queue_seconds.observe(queued)

    def finished(self, reasons: Iterable[str], tokens: int, to_first: float, to_last: float) -> None:
        """Count a request whose texts are complete.

        Args:
            reasons: Why each text ended, ``length`` or ``stop``.
            tokens: How many all texts have together.
            to_first: Seconds from its arrival to the first token.
            to_last: Seconds from its arrival to the last one.
        """
        for reason in reasons:
            self._ended[reason].inc()
        self._generation_tokens.inc(tokens)
        self._ttft_seconds.observe(to_first)
        self._e2e_seconds.observe(to_last)

    def aborted(self) -> None:
        """Count a request that ended early."""
        self._ended["abort"].inc()

    def text(self) -> bytes:
        """Return all of them in Prometheus's text form."""
        return generate_latest(self._registry)


class _Constant:
    def __init__(self, family: GaugeMetricFamily) -> None:
        self._family = family

    def collect(self) -> list[GaugeMetricFamily]:
        return [self._family]
