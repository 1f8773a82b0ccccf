"""How pods are scraped."""

from collections.abc import Mapping
from typing import Final

import attrs

from flowgate import Pod
from flowgate.validators import at_least, finite_seconds, number_in, positive
from flowgate_epp.scraping._names import PRESETS, MetricNames

__all__ = ["ScraperSettings"]

_HIGHEST_PORT: Final = 65_535
_MEBIBYTE: Final = 1_048_576


def _check_path(_record: object, field: "attrs.Attribute[str]", value: str) -> None:
    if not value.startswith("/") or any(character.isspace() for character in value):
        raise ValueError(f"{field.name} must begin with a slash and hold no spaces, not {value!r}")


@attrs.frozen
class ScraperSettings:
    """When and how pods are asked for their metrics.

    A scrape of a vLLM page of 180 kB costs this process about 1 ms of CPU, one of a few lines 0.4 ms. `max_rate` is
    what bounds the whole: where `interval` would mean more scrapes than that, all pods' intervals are stretched alike.
    Keep the interval that results well below the `staleness` of the detector, or pods turn full between two scrapes.

    Args:
        interval: Time from one scrape of a pod to its next, in seconds.
        jitter: How far it is drawn from that, to either side, as a share of it, 0..1.
        timeout: Longest time for one scrape, in seconds.
        max_pause: Longest pause between scrapes of a pod that fails, in seconds; the first is the interval.
        max_rate: Most scrapes a second of all pods.
        path: The page's path, with a query where there is one.
        port: The page's TCP port; None for the pod's own.
        engine: Whose names the pods' pages use: one of `tables`, or of the known ones (vllm, sglang, trtllm-serve,
            triton-tensorrt-llm).
        engine_label: A label with which a pod may name another; None for none. Model servers of llm-d have
            ``llm-d.ai/engine-type``.
        tables: Names of engines of your own, or that stand in for the known ones.
        max_bytes: The longest page, in bytes.

    Raises:
        ValueError: A value is out of range, or there is no such engine.
    """

    interval: float = attrs.field(default=0.2, validator=finite_seconds)
    jitter: float = attrs.field(default=0.1, validator=number_in(0, 1))
    timeout: float = attrs.field(default=1.0, validator=finite_seconds)
    max_pause: float = attrs.field(default=1.0, validator=finite_seconds)
    max_rate: float = attrs.field(default=500.0, validator=positive)
    path: str = attrs.field(default="/metrics", validator=_check_path)
    port: int | None = attrs.field(
        default=None, validator=attrs.validators.optional([at_least(1), number_in(1, _HIGHEST_PORT)])
    )
    engine: str = "vllm"
    engine_label: str | None = None
    tables: Mapping[str, MetricNames] = attrs.field(factory=dict[str, MetricNames])
    max_bytes: int = attrs.field(default=4 * _MEBIBYTE, validator=at_least(1))

    def __attrs_post_init__(self) -> None:
        if self.engine not in self.engines:
            raise ValueError(f"engine must be one of {', '.join(self.engines)}, not {self.engine!r}")

    @property
    def engines(self) -> Mapping[str, MetricNames]:
        """The names of all engines, the file's before the known ones."""
        return {**PRESETS, **self.tables}

    def engine_of(self, pod: Pod) -> str:
        """Return the name of a pod's engine; there may be none of that name."""
        return self.engine if self.engine_label is None else pod.labels.get(self.engine_label, self.engine)

    def url_of(self, pod: Pod) -> str:
        """Return where a pod's page is."""
        endpoint = pod.endpoint if self.port is None else attrs.evolve(pod, port=self.port).endpoint
        return f"http://{endpoint}{self.path}"
