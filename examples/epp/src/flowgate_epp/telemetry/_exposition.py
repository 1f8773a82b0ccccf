"""What a scraper gets: every metric as text, under the names that were asked for.

The text is written here and not by prometheus-client, which takes ten times as long for a thousand flows; while it is
written, the event loop stands still and nobody is dispatched. The client writes the few metrics of the process.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.utils import floatToGoString

from flowgate_epp.telemetry._flow_metrics import FlowMetrics
from flowgate_epp.telemetry._samples import SAMPLES, Sample
from flowgate_epp.telemetry._schemes import SCHEMES, Scheme, Translate
from flowgate_epp.telemetry._series import Histogram
from flowgate_epp.telemetry._settings import MetricsSettings
from flowgate_epp.telemetry._table import METRICS, Metric

__all__ = ["CONTENT_TYPE", "Exposition"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_LABELS = "\0"  # never in a label's value: they are printable


class Exposition:
    """All metrics, for a scraper or for a prometheus-client registry.

    Args:
        metrics: What was counted.
        settings: Under whose names it is told.

    Attributes:
        registry: Further collectors, whose metrics are told after ours.
    """

    def __init__(self, metrics: FlowMetrics, settings: MetricsSettings | None = None) -> None:
        settings = MetricsSettings() if settings is None else settings
        self._metrics = metrics
        self._pool = settings.pool
        self._schemes = [SCHEMES[name] for name in settings.names]
        self.registry: CollectorRegistry = CollectorRegistry()
        if settings.process:
            ProcessCollector(registry=self.registry)
            PlatformCollector(registry=self.registry)
            GCCollector(registry=self.registry)

    def render(self) -> bytes:
        """Write everything, in Prometheus' text format 0.0.4.

        Raises:
            RuntimeError: The metrics are not connected yet.
        """
        text = "".join(
            _text(name, metric, scheme.labels(metric), samples) for scheme, name, metric, samples in self._told()
        )
        return text.encode() + generate_latest(self.registry)

    def collect(self) -> Iterator[Family]:
        """Tell our metrics to a prometheus-client registry in which this is registered."""
        for scheme, name, metric, samples in self._told():
            yield _family(name, metric, scheme.labels(metric), samples)

    def describe(self) -> list[Family]:
        """Tell which metrics there are, without reading them."""
        return [
            _family(name, metric, scheme.labels(metric), ())
            for scheme in self._schemes
            for metric in METRICS.values()
            if (name := scheme.name(metric)) is not None
        ]

    def _told(self) -> Iterator[tuple[Scheme, str, Metric, Sequence[Sample]]]:
        reading = self._metrics.read()
        for scheme in self._schemes:
            for metric in METRICS.values():
                name = scheme.name(metric)
                if name is not None:
                    samples = SAMPLES[metric.name](reading)
                    translate = scheme.translate(metric, self._pool)
                    yield scheme, name, metric, list(samples if translate is None else _merged(samples, translate))


def _merged(samples: Iterable[Sample], translate: Translate) -> Iterator[Sample]:
    """Translate labels, and add up what has the same ones then."""
    merged: dict[tuple[str, ...], float | Histogram] = {}
    for ours, value in samples:
        labels = translate(ours)
        before = merged.get(labels)
        if isinstance(value, Histogram):
            total = Histogram(value.bounds) if before is None else before
            assert isinstance(total, Histogram)  # noqa: S101 - it was made sure of before
            total.add(value)
            merged[labels] = total
        elif isinstance(before, Histogram):  # pragma: no cover - the same
            raise TypeError(f"{labels} has values of two kinds")
        else:
            merged[labels] = value if before is None else before + value
    return iter(merged.items())


def _text(name: str, metric: Metric, labels: tuple[str, ...], samples: Sequence[Sample]) -> str:
    lines = [f"# HELP {name} {_meaning(metric)}\n# TYPE {name} {metric.kind}\n"]
    template = _template(name, metric.buckets, bool(labels))
    for values, value in samples:
        pairs = ",".join([f'{label}="{_escaped(text)}"' for label, text in zip(labels, values, strict=True)])
        if isinstance(value, Histogram):
            cumulated = tuple(accumulate(value.counts))
            lines.append((template % (*cumulated, value.total, cumulated[-1])).replace(_LABELS, pairs))
        else:
            lines.append(f"{name}{{{pairs}}} {value}\n" if pairs else f"{name} {value}\n")
    return "".join(lines)


@lru_cache(maxsize=64)
def _template(name: str, bounds: tuple[float, ...], is_labelled: bool) -> str:
    """Prepare a histogram's lines: labels are put in for `_LABELS`, and the numbers by ``%``."""
    between = f"{_LABELS}," if is_labelled else ""
    alone = f"{{{_LABELS}}}" if is_labelled else ""
    uppers = [*map(floatToGoString, bounds), "+Inf"]
    buckets = "".join(f'{name}_bucket{{{between}le="{upper}"}} %d\n' for upper in uppers)
    return f"{buckets}{name}_sum{alone} %r\n{name}_count{alone} %d\n"


def _escaped(text: str) -> str:
    if "\\" in text or '"' in text:
        return text.replace("\\", "\\\\").replace('"', '\\"')
    return text


def _meaning(metric: Metric) -> str:
    return f"{metric.meaning} ({metric.unit})"


def _family(name: str, metric: Metric, labels: tuple[str, ...], samples: Iterable[Sample]) -> Family:
    if metric.kind == "histogram":
        histogram = HistogramMetricFamily(name, _meaning(metric), labels=labels)
        for values, value in samples:
            assert isinstance(value, Histogram)  # noqa: S101 - it was made sure of before
            uppers = [*map(floatToGoString, value.bounds), "+Inf"]
            histogram.add_metric(values, list(zip(uppers, accumulate(value.counts), strict=True)), value.total)
        return histogram
    simple = (CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily)(
        name, _meaning(metric), labels=labels
    )
    for values, value in samples:
        assert not isinstance(value, Histogram)  # noqa: S101 - it was made sure of before
        simple.add_metric(values, value)
    return simple
