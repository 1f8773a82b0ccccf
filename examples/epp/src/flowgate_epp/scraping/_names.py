"""How engines name their metrics."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

import attrs

from flowgate.validators import one_of

__all__ = ["PRESETS", "MetricNames", "Series"]

_SERIES = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?")
_LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*(?:"([^"]*)"|([^",{}\s]+))\s*')


@attrs.frozen
class Series:
    """Series of one name, narrowed by labels.

    Args:
        name: The name.
        labels: Labels that they have, among others.
    """

    name: str
    labels: Mapping[str, str]

    @classmethod
    def parse(cls, text: str) -> "Series":
        """Read ``name`` or ``name{label="value", ...}``; the quotes may be left out.

        Raises:
            ValueError: It is neither.

        >>> Series.parse('requests{state="waiting"}')
        Series(name='requests', labels={'state': 'waiting'})
        """
        found = _SERIES.fullmatch(text)
        pairs = [_LABEL.fullmatch(part) for part in found[2].split(",")] if found and found[2] else []
        if found is None or None in pairs:
            raise ValueError(f'a series is written name or name{{label="value"}}, not {text!r}')
        return cls(found[1], {pair[1]: pair[2] or pair[3] or "" for pair in pairs if pair})


def _check_series(_record: object, field: "attrs.Attribute[tuple[str, ...]]", texts: tuple[str, ...]) -> None:
    for text in texts:
        try:
            Series.parse(text)
        except ValueError as error:
            raise ValueError(f"{field.name} must name series: {error}") from None


def _check_some(_record: object, field: "attrs.Attribute[tuple[str, ...]]", texts: tuple[str, ...]) -> None:
    if not texts:
        raise ValueError(f"{field.name} must name a series")


@attrs.frozen
class MetricNames:
    """Where an engine's metrics page says how busy it is.

    Each field lists series, of which the first that the page has is taken: versions differ. A series is written
    ``name`` or ``name{label="value"}``; where several have that name and label, for several models or ranks, requests
    are summed, and of the cache's use the most counts. An empty list stands for 0: the engine does not tell.

    A page that declares a name, and has no series of it, is that of an engine that has had no request yet: 0. That is
    how Prometheus' Python client writes it in engines of several processes.

    Args:
        waiting: Requests in the engine's queue.
        running: Requests that it works on.
        kv_cache_usage: How much of its key-value cache is in use.
        usage_in: Whether that is told as a share, 0..1, or in percent, 0..100.
        absent: What it means that a page does not even declare the names. ``"failure"``: the page is another's, and
            nothing is known of the pod. ``"idle"``: as above, 0; for engines that declare nothing before their first
            request, which would otherwise never get one.

    Raises:
        ValueError: A series is not written like that, or `waiting` names none.
    """

    waiting: tuple[str, ...] = attrs.field(validator=[_check_some, _check_series])
    running: tuple[str, ...] = attrs.field(default=(), validator=_check_series)
    kv_cache_usage: tuple[str, ...] = attrs.field(default=(), validator=_check_series)
    usage_in: Literal["share", "percent"] = attrs.field(default="share", validator=one_of("share", "percent"))
    absent: Literal["failure", "idle"] = attrs.field(default="failure", validator=one_of("failure", "idle"))


PRESETS: Final[Mapping[str, MetricNames]] = MappingProxyType(
    {
        "vllm": MetricNames(
            waiting=("vllm:num_requests_waiting",),
            running=("vllm:num_requests_running",),
            # The second name was that of versions before 0.10. For all their names, both are shares.
            kv_cache_usage=("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
        ),
        "sglang": MetricNames(
            waiting=("sglang:num_queue_reqs",),
            running=("sglang:num_running_reqs",),
            kv_cache_usage=("sglang:token_usage",),
            absent="idle",
        ),
        "trtllm-serve": MetricNames(
            waiting=("trtllm_num_requests_waiting",),
            running=("trtllm_num_requests_running",),
            kv_cache_usage=("trtllm_kv_cache_utilization",),
            absent="idle",
        ),
        "triton-tensorrt-llm": MetricNames(
            waiting=('nv_trt_llm_request_metrics{request_type="waiting"}',),
            running=('nv_trt_llm_request_metrics{request_type="scheduled"}',),
            kv_cache_usage=('nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction"}',),
        ),
    }
)
"""The engines known by name."""
