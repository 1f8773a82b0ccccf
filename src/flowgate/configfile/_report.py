"""What a configuration means, in plain text."""

import inspect
import math
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, cast

import attrs

from flowgate.config import PriorityBandConfig
from flowgate.configfile._problems import ConfigError
from flowgate.configfile._settings import Settings
from flowgate.contracts import Costed, UsageLimitPolicy
from flowgate.plugins import plugin_name

__all__ = ["explain", "explain_error"]

_WIDTH: Final = 100
_LABEL: Final = 20

_UNITS: Final[Mapping[str, str]] = {
    "default_ttl": "seconds",
    "explain_last": "decisions can be explained",
    "max_bands": "bands",
    "max_bytes": "bytes may wait",
    "max_dispatch_batch": "requests",
    "max_flow_bytes": "bytes of one flow may wait",
    "max_flow_requests": "requests of one flow may wait",
    "max_flows": "flows",
    "max_requests": "requests may wait",
    "no_pods_ttl": "seconds",
    "poll_interval": "seconds",
}
# No limit is worth a word where most have one; other options that are not used are not.
_TOLD_ANYWAY: Final = frozenset({"default_band", "max_bytes", "max_requests", "no_pods_ttl"})
_WORDS: Final[Mapping[tuple[str, object], str]] = {
    ("displace", False): "no: its requests stay when a higher band fills the controller",
    ("displace", True): "yes: higher bands may push its requests out of a full controller",
    ("explain_last", 0): "none: only what waits can be explained",
    ("hol_scope", "candidates"): "candidates: a waiting request holds back only those that need its pods",
    ("hol_scope", "pool"): "pool: a waiting request holds back every lower band",
    ("mode", "queue"): "queue: what cannot go at once waits",
    ("mode", "shed"): "shed: what cannot go at once is rejected",
    ("when_full", "longest-flow"): "longest-flow: its newest requests make room",
    ("when_full", "reject"): "reject the arrival",
    ("yield_every", 0): "never",
}
_NOTHING: Final[Mapping[str, str]] = {
    "default_band": "none: other priorities are refused",
    "detector": "none: to be given in code",
    "locator": "none: to be given in code",
    "no_pods_ttl": "as default_ttl",
    "usage_limit": "none: every band may fill a pod",
}

_EXAMPLE_COST = 1_000


def explain(settings: Settings) -> str:
    """Return what a configuration means: bands in order of service, limits, budgets, policies and plug-ins."""
    return "\n".join(_lines(settings))


def explain_error(error: ConfigError) -> str:
    """Return all problems of a configuration, each under its path."""
    many = f"{len(error.problems)} problems" if len(error.problems) > 1 else "1 problem"
    lines = [f"{error.source} has {many}:"]
    for problem in error.problems:
        lines += ["", f"  {problem.path}"] if problem.path else [""]
        lines += _wrapped(problem.message, "    ")
    return "\n".join(lines)


def _lines(settings: Settings) -> Iterator[str]:
    config = settings.config
    yield "Bands, in the order in which they are served:"
    for band in sorted(config.bands, key=lambda band: -band.priority):
        yield from ["", f"  priority {band.priority}{f', {band.name}' if band.name else ''}", *_band(band)]
    if config.default_band is not None:
        yield from ["", "  any other priority, in its place", *_band(config.default_band)]
    yield from ["", "For all bands together:", ""]
    yield from _fields(config, "  ", {"bands"} if config.default_band is None else {"bands", "default_band"})
    yield from ["", "Plug-ins:", ""]
    for name in ("detector", "locator", "usage_limit"):
        yield from _row("  ", name, getattr(settings, name))
    yield from _ceilings(settings)


def _band(band: PriorityBandConfig) -> Iterator[str]:
    return _fields(band, "    ", {"priority", "name"})


def _fields(record: Any, indent: str, skipped: Iterable[str]) -> Iterator[str]:
    for name, value in attrs.asdict(record, recurse=False).items():
        if name not in skipped and (value is not None or name in _TOLD_ANYWAY):
            yield from _row(indent, name, value)


def _row(indent: str, name: str, value: object) -> Iterator[str]:
    yield from _entry(indent, name, _meaning(name, value))
    promise = _promise(name, value)
    if promise:
        yield from _entry(indent, "", promise)


def _meaning(name: str, value: object) -> str:
    if value is None:
        return _NOTHING.get(name, "no limit" if name in _UNITS else "none")
    if isinstance(value, bool | int | str) and (name, value) in _WORDS:
        return _WORDS[name, value]
    if value == math.inf:
        return "for ever"
    return f"{_value(value)} {_UNITS[name]}" if name in _UNITS else _value(value)


def _entry(indent: str, label: str, text: str) -> Sequence[str]:
    first, *rest = _wrapped(text, " " * (len(indent) + _LABEL))
    return [f"{indent}{label:<{_LABEL}}{first.lstrip()}", *rest]


def _wrapped(text: str, indent: str) -> Sequence[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _value(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case int() | float():
            return f"{int(value):,}" if value == value // 1 < math.inf else f"{value:g}"
        case str():
            return value
        case Mapping():
            return _listed(cast("Mapping[object, object]", value), ": ")
        case _:
            return _object(value)


def _object(value: object) -> str:
    if isinstance(value, type):
        return value.__name__
    if attrs.has(type(value)) and not hasattr(value, "name"):
        return _listed(attrs.asdict(cast("Any", value), recurse=False), " ")
    return _plugin(value)


def _listed(entries: Mapping[Any, object], between: str) -> str:
    return ", ".join(f"{_value(key)}{between}{_value(each)}" for key, each in entries.items())


def _plugin(plugin: object) -> str:
    """Return a plug-in's name, with its parameters if its representation tells them."""
    told = re.fullmatch(r"(\w+)(\(.*\))", repr(plugin), re.DOTALL)
    own = getattr(plugin, "name", None)
    if told is None:
        return plugin_name(plugin)
    return f"{own if isinstance(own, str) else told[1]}{told[2] if told[2] != '()' else ''}"


def _promise(name: str, value: object) -> str | None:
    bound = getattr(value, "bound", None)
    arguments = ((_EXAMPLE_COST, _EXAMPLE_COST),) if isinstance(value, Costed) else ()
    if not callable(bound) or not _takes(bound, arguments):
        return None
    most = _value(bound(*arguments))
    match name:
        case "fairness":
            return f"of two flows that wait, neither gets more than {most} ahead {_terms(bound, bool(arguments))}"
        case "band_shares":
            return f"a band that waits lags behind its share by at most {most} (in dispatches)"
        case _:
            return None


def _terms(bound: Callable[..., object], is_costed: bool) -> str:
    """Return in what a fairness bound counts, and beside what it holds."""
    has_lead = "lead" in inspect.signature(bound).parameters
    lead = ", beyond the lead that one began with" if has_lead else ""
    if not is_costed:
        return f"(in requests){lead}"
    cost = "faded cost" if has_lead else "cost"
    rule = f"(in {cost} per weight, where no request costs more than {_EXAMPLE_COST:,})"
    return f"{rule}{lead}, beside what settlements corrected"


def _takes(function: Callable[..., object], arguments: tuple[object, ...]) -> bool:
    try:
        inspect.signature(function).bind(*arguments)
    except (TypeError, ValueError):
        return False
    return True


def _ceilings(settings: Settings) -> Iterator[str]:
    priorities = sorted((band.priority for band in settings.config.bands), reverse=True)
    if settings.usage_limit is None or not priorities:
        return
    half, full = (_shares(settings.usage_limit, saturation, priorities) for saturation in (0.5, 1.0))
    if half == full:
        yield from _entry("  ", "", f"ceilings while all bands wait: {full}")
    else:
        yield from _entry("  ", "", f"ceilings while all bands wait for pods that are half full: {half}")
        yield from _entry("  ", "", f"ceilings while all bands wait for pods that are full: {full}")


def _shares(policy: UsageLimitPolicy, saturation: float, priorities: Sequence[int]) -> str:
    try:
        pairs = list(zip(priorities, policy.ceilings(saturation, priorities), strict=True))
        return ", ".join(f"{ceiling:.0%} for priority {priority}" for priority, ceiling in pairs)
    except Exception as error:  # a plug-in may raise anything
        return f"unknown, the policy fails: {error}"
