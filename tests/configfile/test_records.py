"""A program's own file, with flowgate's settings and the program's own plug-ins in it."""

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import attrs
import pytest

from flowgate.configfile import ConfigError, PluginKind, Settings, load_record, load_settings
from flowgate.policies import EarliestDeadlineFirst
from tests.configfile.conftest import Install


@runtime_checkable
class Brake(Protocol):
    def stop(self) -> str: ...


@attrs.frozen
class Listen:
    port: int = attrs.field(default=80, validator=attrs.validators.ge(1))


@attrs.frozen
class Car:
    listen: Listen = Listen()
    brake: Brake | None = None
    flow_control: Settings = attrs.field(factory=lambda: load_settings({}))


BRAKES = PluginKind("brake", "car.brakes", (Brake,))


def problems_of(source: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_record(Car, source, plugins=[BRAKES])
    return [str(problem) for problem in caught.value.problems]


def test_a_record_holds_flowgates_settings_as_a_table_of_its_own(tmp_path: Path) -> None:
    """All that `load_settings` reads may stand there, plug-ins included."""
    path = tmp_path / "car.toml"
    path.write_text(
        "[listen]\nport = 8080\n[flow_control]\ndefault_ttl = 5\n"
        '[flow_control.detector]\nname = "concurrency"\nmax_concurrency = 2\n'
        '[[flow_control.bands]]\npriority = 1\ndispatch = "edf"\n',
        "utf-8",
    )
    car = load_record(Car, path)
    assert car.listen.port == 8080
    assert car.flow_control.config.default_ttl == 5
    assert repr(car.flow_control.detector) == "ConcurrencyDetector(2)"
    assert isinstance(car.flow_control.config.bands[0].dispatch, EarliestDeadlineFirst)
    assert load_record(Car, {}).flow_control.config == load_settings({}).config


def test_every_mistake_is_told_with_its_whole_path() -> None:
    """Those in the nested settings, too, and all at once."""
    found = problems_of(
        {
            "listen": {"port": 0},
            "flow_control": {"default_ttl": 0, "detektor": "x", "bands": [{"priority": 1}, {"priority": 1}]},
            "wheels": 4,
        }
    )
    assert [problem.split(":")[0] for problem in found] == [
        "listen.port", "flow_control.detektor", "flow_control.default_ttl", "flow_control.bands[1].priority", "wheels",
    ]  # fmt: skip
    assert problems_of({"flow_control": 5}) == ["flow_control: expected a table, not 5"]


def test_fields_may_name_plug_ins_of_the_programs_own_kinds(install: Install) -> None:
    """Packages register them under the program's group, and they take parameters as flowgate's do."""
    code = """
        class Disc:
            def __init__(self, size: int = 1) -> None:
                self.size = size

            def stop(self) -> str:
                return "slow" * self.size

        class Wood:
            pass
    """
    install("brakes-of-discs", {"car.brakes": {"disc": "brakes_of_discs:Disc", "wood": "brakes_of_discs:Wood"}}, code)
    named = load_record(Car, {"brake": "disc"}, plugins=[BRAKES])
    assert named.brake is not None
    assert named.brake.stop() == "slow"
    sized = load_record(Car, {"brake": {"name": "disc", "size": 2}}, plugins=[BRAKES])
    assert sized.brake is not None
    assert sized.brake.stop() == "slowslow"
    (unknown,) = problems_of({"brake": "drum"})
    assert unknown.startswith('brake: there is no brake "drum"; ')
    assert problems_of({"brake": "wood"}) == ['brake: "wood" makes a Wood, which is no brake: it lacks stop']
    assert problems_of({"brake": {"name": "disc", "size": "big"}})[0].startswith("brake.size: expected an integer")


def test_a_source_that_is_neither_path_nor_mapping_is_refused() -> None:
    """As the other two refuse it."""
    with pytest.raises(TypeError, match="a configuration is a path or a mapping, not 5"):
        load_record(Car, 5)  # type: ignore[arg-type]
