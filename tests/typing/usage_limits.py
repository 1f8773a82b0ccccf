"""Never run: each usage-limit policy, and what files become, as the type checkers see them."""

from collections.abc import Mapping
from pathlib import Path

from flowgate import FlowControlConfig, FlowController
from flowgate.configfile import ConfigSource, Problem, Settings, load_config, load_settings
from flowgate.configfile._annotations import shape_of
from flowgate.configfile._plugins import QUEUE
from flowgate.configfile._shapes import Anything, Choice, Function, ListOf, MapOf, Nothing, OneOf, Plain, Row, Shape
from flowgate.configfile._tables import Plugin, Record, Variants
from flowgate.contracts import PodLocator, SaturationDetector, UsageLimitPolicy
from flowgate.locators import StaticPodLocator
from flowgate.policies import PriorityHoldback, SoftReflectiveCeiling, StaticUsageLimit

limits: list[UsageLimitPolicy] = [
    StaticUsageLimit(),
    StaticUsageLimit(0.9),
    PriorityHoldback(0.5),
    PriorityHoldback(min_ceiling=0.5, max_ceiling=0.9, domain="value"),
    SoftReflectiveCeiling(),
]
constants: list[float | None] = [StaticUsageLimit(0.9).constant_ceiling, PriorityHoldback(0.5).constant_ceiling]

written: Mapping[str, object] = {"max_flows": 5}
sources: list[ConfigSource] = ["a.toml", Path("a.yaml"), written]
config: FlowControlConfig = load_config("a.toml")
settings: Settings = load_settings(written)
detector: SaturationDetector | None = settings.detector
locator: PodLocator | None = settings.locator
controller: FlowController = settings.new_controller(locator=StaticPodLocator(), observers=[object()])
problem: str = Problem("a", "b").path

shapes: list[Shape] = [
    Anything(),
    Choice([1, "a"]),
    Function(),
    ListOf(Plain(int)),
    MapOf(Plain(str), Nothing()),
    OneOf([Plain(int), Nothing()]),
    Row([Plain(int)]),
    Plugin(QUEUE, shape_of),
    Record(FlowControlConfig, shape_of),
    Variants([Record(FlowControlConfig, shape_of)]),
]
