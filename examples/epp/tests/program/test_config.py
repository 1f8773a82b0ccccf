"""The program's file: what it may hold, and what is said of mistakes."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from flowgate.configfile import ConfigError, Settings
from flowgate.saturation import ConcurrencyDetector, UtilizationDetector
from flowgate_epp.__main__ import main
from flowgate_epp.config import EppSettings, load
from flowgate_epp.pods import DnsPods, FilePods, StaticPods
from flowgate_epp.report import describe
from flowgate_epp.scheduling import LeastQueue, SchedulerSettings, WeightedRandom, WeightedScorer

POD = {"name": "a", "address": "10.0.0.1", "port": 8000}
LEAST: dict[str, Any] = {"pods": {"name": "static-pods", "pods": [POD]}}


def problems_of(source: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        load(source)
    return {problem.path: problem.message for problem in caught.value.problems}


def test_a_file_must_say_no_more_than_where_pods_come_from() -> None:
    """Everything else has a default that serves; without a detector named, the scraper's readings decide."""
    settings = load(LEAST)
    assert settings.pods == StaticPods(settings.pods.pods)  # type: ignore[union-attr]
    assert settings.admission == "flow-control"
    assert isinstance(settings.detector, UtilizationDetector)
    assert settings.scraper is not None


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        ({"name": "static-pods", "pods": [POD]}, StaticPods),
        ({"name": "file-pods", "path": "pods.yaml"}, FilePods),
        ({"name": "dns-pods", "host": "pods.example", "port": 80}, DnsPods),
    ],
)
def test_each_source_of_pods_has_its_name(table: dict[str, Any], kind: type) -> None:
    """The name chooses, and the other keys are that source's own."""
    assert type(load({"pods": table}).pods) is kind


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    """Nested tables, plug-ins by name with parameters and without, in TOML."""
    path = tmp_path / "epp.toml"
    path.write_text(
        """
        admission = "legacy"
        scraper = "none"
        [pods]
        name = "file-pods"
        path = "pods.json"
        [objectives.priorities]
        chat = 10
        [director]
        empty_subset = "all"
        [scheduler]
        filters = ["fresh-metrics", {name = "label", header = "x-lora", label = "lora"}]
        picker = "weighted-random"
        [[scheduler.scorers]]
        scorer = "least-queue"
        weight = 3
        [flow_control]
        default_ttl = 9
        [[flow_control.bands]]
        priority = 10
        fairness = "token-counter"
        [flow_control.detector]
        name = "concurrency"
        max_concurrency = 4
        """,
        "utf-8",
    )
    settings = load(path)
    assert settings.admission == "legacy"
    assert settings.scraper is None
    assert settings.objectives.priority("chat") == 10
    assert [each.name for each in settings.scheduler.filters] == ["fresh-metrics", "label lora"]
    assert isinstance(settings.scheduler.picker, WeightedRandom)
    (scorer,) = settings.scheduler.scorers
    assert isinstance(scorer.scorer, LeastQueue)
    assert scorer.weight == 3
    assert settings.flow_control.config.default_ttl == 9
    assert settings.flow_control.config.bands[0].fairness.name == "virtual-token-counter"
    assert isinstance(settings.detector, ConcurrencyDetector)


def test_all_mistakes_are_told_at_once_each_with_its_place() -> None:
    """The path in the file, the value, and the rule."""
    found = problems_of(
        {
            "pods": {"name": "file-pods", "path": "pods.txt"},
            "serverr": {},
            "server": {"port": 70_000},
            "scraper": {"engine": "unheard-of"},
            "director": {"max_ttl": -1},
            "scheduler": {"scorers": [{"scorer": "lest-queue"}]},
            "flow_control": {"bands": [{"priority": "high"}]},
            "admission": "eager",
        }
    )
    assert set(found) == {
        "pods.path", "serverr", "server.port", "scraper.engine", "director.max_ttl", "scheduler.scorers[0].scorer",
        "flow_control.bands[0].priority", "admission",
    }  # fmt: skip
    assert "'pods.txt'" in found["pods.path"]
    assert 'did you mean "server"' in found["serverr"]
    assert found["server.port"] == "must lie in 0..65535, not 70000"
    assert 'did you mean "least-queue"' in found["scheduler.scorers[0].scorer"]


def test_parts_that_do_not_fit_together_are_refused() -> None:
    """A second source of pods, and a detector that would hear nothing."""
    assert problems_of({**LEAST, "flow_control": {"locator": "static"}}) == {
        "flow_control": "must name no locator, for the table pods says where pods come from"
    }
    (problem,) = problems_of({**LEAST, "scraper": "none"}).values()
    assert "must name a detector" in problem
    load({**LEAST, "scraper": "none", "flow_control": {"detector": {"name": "concurrency", "max_concurrency": 1}}})


def test_what_a_file_means_is_told_defaults_included() -> None:
    """Each setting with its value; plug-ins by their names; no state, no objects of Python's."""
    text = describe(load({**LEAST, "scheduler": {"filters": ["fresh-metrics"]}, "scraper": {"interval": 0.5}}))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "pods a at 10.0.0.1:8000" in lines
    assert "admission flow-control" in lines
    assert "interval 0.5" in lines
    assert "tls none" in lines
    assert "filters fresh-metrics (max_age 2.0)" in lines
    assert any(line.startswith("scorers 1 x least-queue, ") for line in lines)
    assert "picker max-score" in lines
    assert "enabled no" in lines
    assert " at 0x" not in text


REFERENCE = Path(__file__).parents[2] / "epp.toml"


def test_the_reference_file_tells_every_key_with_its_default() -> None:
    """Whoever reads it knows all there is to set, and what is so if it is not."""
    written = load(REFERENCE)
    plain = load({"pods": {"name": "file-pods", "path": "/etc/flowgate/pods.yaml"}})
    told, default = describe(written), describe(plain)
    assert told == default
    assert repr(written.detector) == repr(plain.detector)
    # In words, a text that says "none" looks like nothing.
    for table in ("pods", "server", "admin", "director", "telemetry", "kubernetes", "leadership", "waking"):
        assert getattr(written, table) == getattr(plain, table)
    tables = tomllib.loads(REFERENCE.read_text("utf-8"))
    for field in attrs.fields(EppSettings):
        assert_told(getattr(written, field.name), tables[field.name], field.name)


def assert_told(value: object, table: object, path: str) -> None:
    if isinstance(value, Settings) or not isinstance(table, dict) or not attrs.has(type(value)):
        return
    for field in attrs.fields(type(value)):  # type: ignore[arg-type]
        assert field.name in table, f"{path}.{field.name} is not told"
        assert_told(getattr(value, field.name), table[field.name], f"{path}.{field.name}")


class Plain:
    """A scorer that is no attrs class."""

    name = "plain"

    def score(self, request: object, pods: Sequence[object]) -> Sequence[float]:
        return [0.5 for _ in pods]


def test_plug_ins_need_not_be_attrs_classes_to_be_described() -> None:
    """Whatever keeps the contract can be told by its name."""
    settings = attrs.evolve(load(LEAST), scheduler=SchedulerSettings(scorers=(WeightedScorer(Plain(), 2.0),)))
    assert "2 x plain" in describe(settings)


def test_two_servers_cannot_share_a_port() -> None:
    """Told before anything is started; 0 is any free port, for both."""
    same = {"server": {"port": 9001}, "admin": {"port": 9001}}
    assert problems_of({**LEAST, **same}) == {"admin": "must have another port than server, not 9001, too"}
    load({**LEAST, "server": {"port": 0}, "admin": {"port": 0}})


def test_a_check_tries_what_the_file_alone_does_not_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A certificate that is not there would keep the program from starting: the check says so."""
    path = tmp_path / "epp.toml"
    head = '[pods]\nname = "static-pods"\npods = [{name = "a", address = "10.0.0.1", port = 80}]\n'
    path.write_text(head + '[server]\ntls = {certificate = "no.crt", key = "no.key"}\n', "utf-8")
    assert main(["--config", str(path), "--check"]) == 1
    assert "server.tls: no.crt cannot be read: No such file or directory" in capsys.readouterr().err
    path.write_text(head + "[telemetry.tracing]\nenabled = true\n", "utf-8")
    assert main(["--config", str(path), "--check"]) == 0
    told = capsys.readouterr().out
    assert "UtilizationDetector(" in told
    assert "subsets of the pods above" in told
