"""A file becomes what the same constructor calls would make."""

import math
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest

from flowgate import FlowControlConfig, FlowController, Pod, PriorityBandConfig, Request
from flowgate.configfile import ConfigError, Problem, Settings, load_config, load_settings
from flowgate.configfile._annotations import shape_of
from flowgate.configfile._problems import Place
from flowgate.configfile._tables import Record
from flowgate.locators import CachedPodLocator, StaticPodLocator, SubsetPodLocator
from flowgate.policies import BestHead, EarliestDeadlineFirst, PriorityHoldback, RoundRobin, SloDeadline
from flowgate.queues import PriorityQueue
from flowgate.saturation import AdaptiveDetector, Aimd, ConcurrencyDetector, UtilizationDetector

TOML = """
max_requests = 10_000
default_ttl = inf
no_pods_ttl = "none"
hol_scope = "pool"

[[bands]]
priority = 10
name = "interactive"
max_bytes = "none"
dispatch = { name = "slo-deadline", metadata_key = "ttft", unit = 1 }
fairness = "best-head"

[[bands]]
priority = -1
dispatch = "edf"
fairness = { name = "round-robin" }
queue = "priority"
mode = "shed"
displace = false

[default_band]
max_requests = 7
"""

YAML = """
max_requests: 10_000
default_ttl: .inf
no_pods_ttl: null
hol_scope: pool
bands:
  - priority: 10
    name: interactive
    max_bytes: none
    dispatch: {name: slo-deadline, metadata_key: ttft, unit: 1}
    fairness: best-head
  - priority: -1
    dispatch: edf
    fairness: {name: round-robin}
    queue: priority
    mode: shed
    displace: false
default_band: {max_requests: 7}
"""

WRITTEN_OUT = FlowControlConfig(
    bands=[
        PriorityBandConfig(
            10,
            name="interactive",
            max_bytes=None,
            dispatch=SloDeadline(metadata_key="ttft", unit=1),
            fairness=BestHead(),
        ),
        PriorityBandConfig(
            -1,
            dispatch=EarliestDeadlineFirst(),
            fairness=RoundRobin(),
            queue=PriorityQueue,
            mode="shed",
            displace=False,
        ),
    ],
    default_band=PriorityBandConfig(0, max_requests=7),
    max_requests=10_000,
    default_ttl=math.inf,
    hol_scope="pool",
)


@pytest.mark.parametrize(("name", "text"), [("a.toml", TOML), ("a.yaml", YAML), ("a.YML", YAML)])
def test_a_file_says_what_the_constructors_say(tmp_path: Path, name: str, text: str) -> None:
    """TOML and YAML alike, by a path as text or as an object."""
    path = tmp_path / name
    path.write_text(text, "utf-8")
    assert load_config(path) == load_config(str(path)) == WRITTEN_OUT
    assert load_settings(path) == Settings(WRITTEN_OUT)


@pytest.mark.parametrize(("name", "text"), [("a.toml", ""), ("a.yaml", ""), ("a.yaml", "# nothing but a comment\n")])
def test_an_empty_file_is_the_defaults(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text, "utf-8")
    assert load_config(path) == load_config({}) == FlowControlConfig()


def test_no_template_makes_other_priorities_invalid() -> None:
    assert load_config({"default_band": "none"}) == FlowControlConfig(default_band=None)


def test_plug_ins_nest_by_name() -> None:
    """A locator inside a locator inside a locator, with pods as tables; records by name inside a detector."""
    settings = load_settings(
        {
            "locator": {
                "name": "cached",
                "ttl": 0.5,
                "locator": {
                    "name": "subset",
                    "empty_hint": "all",
                    "locator": {
                        "name": "static",
                        "pods": [
                            {"name": "a", "address": "10.0.0.1", "port": 8000},
                            {"name": "b", "address": "fd00::1", "port": 8000, "labels": {"gpu": "x"}},
                        ],
                    },
                },
            },
            "detector": {"name": "adaptive", "limit": {"name": "aimd", "latency_threshold": 2}, "initial": 5},
            "usage_limit": {"name": "priority-holdback", "min_ceiling": 0.5},
        }
    )
    assert isinstance(settings.locator, CachedPodLocator)
    assert list(settings.locator.locate({})) == [Pod("a", "10.0.0.1", 8000), Pod("b", "fd00::1", 8000)]
    assert settings.locator.locate({})[1].labels == {"gpu": "x"}
    assert repr(settings.detector) == repr(AdaptiveDetector(Aimd(latency_threshold=2), initial=5))
    assert settings.usage_limit == PriorityHoldback(0.5)


def test_a_subset_locator_takes_the_name_alone_of_the_one_inside() -> None:
    """A bare name does where there is nothing else to say."""
    settings = load_settings({"locator": {"name": "subset", "locator": "static"}, "detector": "utilization"})
    assert isinstance(settings.locator, SubsetPodLocator)
    assert settings.locator.locate({}) == ()
    assert isinstance(settings.detector, UtilizationDetector)


def test_keys_that_are_integers_may_be_written_as_text() -> None:
    """TOML knows no other keys; YAML does."""
    shares = {"band_shares": {"shares": {"-1": 0.25, 10: 0.5}}}
    found = load_config(shares).band_shares
    assert found is not None
    assert dict(found.shares) == {-1: 0.25, 10: 0.5}


@attrs.frozen
class Pause:
    seconds: float = attrs.field(validator=attrs.validators.gt(0))


@attrs.frozen
class Extended(FlowControlConfig):
    pauses: tuple[Pause, ...] = ()
    window: tuple[int, int] | None = None


def test_a_new_field_needs_no_change_of_the_loader() -> None:
    """Fields and their rules are read off the classes, nested ones too."""
    place = Place()
    read = Record(Extended, shape_of).read({"pauses": [{"seconds": 2}], "window": [1, 2], "max_flows": 3}, place)
    assert read == Extended(pauses=(Pause(2),), window=(1, 2), max_flows=3)
    assert not place.problems
    Record(Extended, shape_of).read({"pauses": [{"seconds": 0}, {"second": 1}], "window": [1]}, place)
    assert [problem.path for problem in place.problems] == [
        "pauses[0].seconds",
        "pauses[1].second",
        "pauses[1]",
        "window",
    ]


@pytest.mark.parametrize("key", ["detector", "locator", "usage_limit"])
def test_load_config_refuses_what_it_would_leave_out(key: str) -> None:
    """Nothing in a file is passed over in silence."""
    with pytest.raises(ConfigError) as caught:
        load_config({key: "static"})
    assert caught.value.problems == (Problem(key, "load_config does not read it: take load_settings"),)


def test_settings_make_a_controller() -> None:
    """What the file names is used; what the call gives stands in for it."""
    settings = load_settings({"detector": {"name": "concurrency", "max_concurrency": 2}, "locator": "static"})
    assert isinstance(settings.new_controller(), FlowController)
    assert isinstance(
        load_settings({}).new_controller(locator=StaticPodLocator(), detector=ConcurrencyDetector(1)), FlowController
    )


def test_settings_make_one_controller() -> None:
    """Plug-ins hold state, whatever stands in for some of them; what failed was none."""
    settings = load_settings({"detector": {"name": "concurrency", "max_concurrency": 2}})
    with pytest.raises(ValueError, match="names no locator"):
        settings.new_controller()
    settings.new_controller(locator=StaticPodLocator())
    with pytest.raises(RuntimeError, match=r"^these settings have made a controller already: load the file again$"):
        settings.new_controller(locator=StaticPodLocator(), detector=ConcurrencyDetector(1))
    assert settings == Settings(settings.config, settings.detector)
    assert "use" not in repr(Settings(FlowControlConfig()))


@pytest.mark.parametrize(
    ("given", "message"),
    [({}, "names no locator, and none is given"), ({"locator": "static"}, "names no detector, and none is given")],
)
def test_settings_without_a_part_make_no_controller(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_settings(given).new_controller()


def test_a_source_is_a_path_or_a_mapping() -> None:
    with pytest.raises(TypeError, match="a configuration is a path or a mapping, not 3"):
        load_settings(3)  # type: ignore[arg-type]


def test_whoever_makes_the_controller_may_keep_more_decisions_than_the_file_says() -> None:
    """None leaves it to the file; the file's settings stay as they are."""

    async def keeps(says: int, explain_last: int | None) -> bool:
        settings = load_settings({"explain_last": says})
        pool = StaticPodLocator([Pod("a", "10.0.0.1", 80)])
        made = settings.new_controller(locator=pool, detector=ConcurrencyDetector(1), explain_last=explain_last)
        assert settings.config.explain_last == says
        async with made as controller:
            async with controller.admitted(Request("a", request_id="r")):
                pass
            return bool(controller.explain("r"))

    assert anyio.run(keeps, 0, 5)
    assert anyio.run(keeps, 5, None)
    assert not anyio.run(keeps, 5, 0)
    assert not anyio.run(keeps, 0, None)
