"""The command line: what it prints, where, and with which exit code."""

import platform
import runpy
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points, version
from pathlib import Path

import attrs
import pytest

from flowgate import FlowControlConfig, PriorityBandConfig
from flowgate import __main__ as command_line
from flowgate.__main__ import main
from flowgate.configfile import Settings
from flowgate.configfile._report import explain
from flowgate.contracts import BandView, FlowQueueView, InterFlowDispatchPolicy, QueueSelector
from flowgate.policies import LeastAttainedService
from tests.commands.conftest import closed_pipe

EXAMPLE = Path(__file__).parents[1] / "docs" / "reference" / "flowgate.toml"

SMALL = """
no_pods_ttl = 300
default_ttl = inf
band_shares = { shares = { -1 = 0.25 } }
retry_after = "none"

[[bands]]
priority = -1
max_requests = "none"
fairness = "best-head"

[[bands]]
priority = 10
name = "interactive"
max_flow_requests = 20
dispatch = "edf"
queue = "priority"
fairness = "deficit-round-robin"
displace = false

[default_band]
mode = "shed"

[detector]
name = "concurrency"
max_concurrency = 8

[usage_limit]
name = "soft-reflective-ceiling"
"""

MEANING = """\
{path} is fine. This is what it means.

Bands, in the order in which they are served:

  priority 10, interactive
    max_requests        5,000 requests may wait
    max_bytes           1,000,000,000 bytes may wait
    dispatch            edf
    fairness            deficit-round-robin(quantum=16384, weights=None, cost=None)
                        of two flows that wait, neither gets more than 18,384 ahead (in cost per
                        weight, where no request costs more than 1,000), beside what settlements
                        corrected
    mode                queue: what cannot go at once waits
    displace            no: its requests stay when a higher band fills the controller
    queue               PriorityQueue
    max_flow_requests   20 requests of one flow may wait
    when_full           reject the arrival

  priority -1
    max_requests        no limit
    max_bytes           1,000,000,000 bytes may wait
    dispatch            fcfs
    fairness            best-head
    mode                queue: what cannot go at once waits
    displace            yes: higher bands may push its requests out of a full controller
    when_full           reject the arrival

  any other priority, in its place
    max_requests        5,000 requests may wait
    max_bytes           1,000,000,000 bytes may wait
    dispatch            fcfs
    fairness            round-robin
                        of two flows that wait, neither gets more than 1 ahead (in requests)
    mode                shed: what cannot go at once is rejected
    displace            yes: higher bands may push its requests out of a full controller
    when_full           reject the arrival

For all bands together:

  max_requests        no limit
  max_bytes           no limit
  default_ttl         for ever
  no_pods_ttl         300 seconds
  poll_interval       0.01 seconds
  max_flows           100,000 flows
  max_bands           1,000 bands
  hol_scope           candidates: a waiting request holds back only those that need its pods
  max_dispatch_batch  1,000 requests
  yield_every         never
  band_shares         shares -1: 0.25
                      a band that waits lags behind its share by at most 1 (in dispatches)
  explain_last        none: only what waits can be explained

Plug-ins:

  detector            ConcurrencyDetector(8)
  locator             none: to be given in code
  usage_limit         soft-reflective-ceiling
                      ceilings while all bands wait for pods that are half full: 100% for priority
                      10, 50% for priority -1
                      ceilings while all bands wait for pods that are full: 100% for priority 10, 0%
                      for priority -1
"""

WRONG = """
default_ttl = "60"
max_flow = 3
hol_scope = "pods"

[[bands]]
priority = 1
fairness = { name = "deficit-round-robin", quantum = -1 }

[[bands]]
priority = 1
"""

MISTAKES = """\
{path} has 5 problems:

  default_ttl
    expected a number, not "60"; write it without quotes

  max_flow
    unknown key; did you mean "max_flows"? Known: {keys}

  hol_scope
    expected "candidates" or "pool", not "pods"

  bands[0].fairness.quantum
    must be finite and more than 0, not -1

  bands[1].priority
    bands[0] has the priority 1, too
"""


def write(folder: Path, text: str) -> str:
    path = folder / "flowgate.toml"
    path.write_text(text, "utf-8")
    return str(path)


def test_check_says_what_a_file_means(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bands in order of service, limits, budgets, policies and what they promise, plug-ins: on stdout, exit code 0."""
    path = write(tmp_path, SMALL)
    assert main(["check", path]) == 0
    printed = capsys.readouterr()
    lines = iter(printed.out.splitlines())
    for expected in MEANING.format(path=path).splitlines():
        assert expected in lines, f"not there, or not in this order: {expected!r}"  # other fields may stand between
    assert printed.err == ""


def test_check_tells_every_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each under its path: on stderr, exit code 1, and nothing on stdout."""
    path = write(tmp_path, WRONG)
    assert main(["check", path]) == 1
    printed = capsys.readouterr()
    told = " ".join(printed.err.split())
    keys = told.split("Known: ")[1].split(" hol_scope expected")[0]
    assert told == " ".join(MISTAKES.format(path=path, keys=keys).split())
    assert "max_flows" in keys.split(", ")
    assert printed.err.startswith(f"{path} has 5 problems:\n\n  default_ttl\n    expected a number")
    assert max(map(len, printed.err.splitlines()[1:])) <= 100
    assert printed.out == ""


def test_check_tells_a_single_problem_of_the_whole_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "absent.toml")
    assert main(["check", path]) == 1
    expected = f"{path} has 1 problem:\n\n    the file cannot be read: No such file or directory\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ('default_band = "none"', ["default_band        none: other priorities are refused"]),
        ("bands = []\nusage_limit = 'static'", ["usage_limit         static(ceiling=1.0)"]),
        ("[usage_limit]\nname = 'static'\nceiling = 0.9", ["ceilings while all bands wait: 90% for priority 0"]),
        ("default_ttl = 0.25", ["default_ttl         0.25 seconds", "no_pods_ttl         as default_ttl"]),
        ("[retry_after]\nleast = 2", ["retry_after         least 2, most 60, jitter 0.2"]),
    ],
)
def test_check_puts_the_rest_into_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, lines: Sequence[str]
) -> None:
    assert main(["check", write(tmp_path, text)]) == 0
    printed = capsys.readouterr().out
    for line in lines:
        assert line in printed


def test_check_promises_no_more_than_a_policy_does() -> None:
    """A policy that remembers who was served before promises less than one that does not."""

    class Patient:
        def select_queue(self, band: BandView) -> FlowQueueView | None:
            return next(iter(band.queues))

        def bound(self, lead: float = 0.0) -> float:
            return 2 + lead

    def told(fairness: InterFlowDispatchPolicy | QueueSelector) -> str:
        config = FlowControlConfig(bands=[PriorityBandConfig(0, fairness=fairness)])
        return " ".join(explain(Settings(config)).split())

    assert (
        "neither gets more than 2,000 ahead (in faded cost per weight, where no request costs more than 1,000), beyond "
        "the lead that one began with, beside what settlements corrected mode"
    ) in told(LeastAttainedService())
    assert "neither gets more than 2 ahead (in requests), beyond the lead that one began with mode" in told(Patient())


def test_check_shows_plug_ins_that_tell_nothing_of_themselves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By their own name, else by their type's; a bound that needs arguments is not told."""
    info = tmp_path / "plain-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plain\nVersion: 1.0\n", "utf-8")
    groups = ["locators", "saturation_detectors", "fairness_policies"]
    entries = "\n".join(f"[flowgate.{group}]\nplain = plain_plugins:Plain" for group in groups)
    (info / "entry_points.txt").write_text(entries, "utf-8")
    code = (
        "class Plain:\n"
        "    def locate(self, metadata): return ()\n"
        "    def saturation(self, pod, load): return 0.0\n"
        "    def select_queue(self, band): return None\n"
        "    def bound(self, costs): return 1\n"
    )
    (tmp_path / "plain_plugins.py").write_text(code, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    text = 'locator = "plain"\ndetector = "plain"\nbands = [{ priority = 0, fairness = "plain" }]\n'
    assert main(["check", write(tmp_path, text)]) == 0
    printed = capsys.readouterr().out
    assert "  detector            Plain\n  locator             Plain\n" in printed
    assert "    fairness            Plain\n    mode " in printed


def test_a_usage_limit_that_fails_is_told_and_not_fatal() -> None:
    """A plug-in that cannot say its ceilings yet leaves the rest of the report as it is."""

    class Moody:
        def ceilings(self, saturation: float, priorities: Sequence[int]) -> Sequence[float]:
            raise RuntimeError("not today")

    told = explain(Settings(FlowControlConfig(), usage_limit=Moody()))
    assert "ceilings while all bands wait: unknown, the policy fails: not today" in told


@attrs.frozen
class Share:
    part: float = 0.5

    def bound(self) -> int:
        return 1


@attrs.frozen
class Extended(FlowControlConfig):
    motto: str = "first things first"
    share: Share = Share()
    is_calm: bool = True


def test_a_field_that_is_new_is_told_without_more_ado() -> None:
    """By its own name; records field by field."""
    told = explain(Settings(Extended()))
    assert (
        "  motto               first things first\n  share               part 0.5\n  is_calm             yes\n" in told
    )


def test_the_documented_example_is_fine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(EXAMPLE)]) == 0
    assert "priority 10, interactive" in capsys.readouterr().out


def test_version_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    first, python, *parts = capsys.readouterr().out.splitlines()
    assert first == f"flowgate {version('flowgate-admission')}"
    assert python.endswith(platform.python_version())
    assert parts == [f"{name} {version(name)}" for name in ("anyio", "attrs", "sortedcontainers", "typing-extensions")]


def test_the_option_says_the_version_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"flowgate {version('flowgate-admission')}\n"


def test_a_reader_that_leaves_is_no_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is that of the file, and nothing is said; nor when the stream is closed at last."""
    with closed_pipe() as gone:
        monkeypatch.setattr(sys, "stdout", gone)
        assert main(["check", str(EXAMPLE)]) == 0
    assert capsys.readouterr().err == ""
    with closed_pipe() as gone:
        monkeypatch.setattr(sys, "stderr", gone)
        assert main(["check", write(tmp_path, WRONG)]) == 1


def test_output_that_cannot_be_written_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full disk: exit code 2."""
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main(["version"]) == 2
    assert capsys.readouterr().err == "flowgate: the output cannot be written: No space left on device\n"


@pytest.mark.parametrize("arguments", [[], ["check"], ["chekc", "a.toml"], ["check", "a", "b"]])
def test_a_wrong_command_line_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: flowgate" in capsys.readouterr().err


def test_python_m_runs_the_same(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """``python -m flowgate`` and the script ``flowgate`` are one program."""
    monkeypatch.setattr(sys, "argv", ["flowgate", "version"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(command_line.__file__), run_name="__main__")
    assert caught.value.code == 0
    (script,) = (entry for entry in entry_points(group="console_scripts") if entry.name == "flowgate")
    assert script.value == "flowgate.__main__:main"


def test_python_m_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    """Exit codes reach the shell."""
    command = [sys.executable, "-W", "error", "-m", "flowgate", "check"]

    def run(path: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([*command, path], capture_output=True, text=True, timeout=60, check=False)  # noqa: S603

    good = run(str(EXAMPLE))
    assert (good.returncode, good.stderr) == (0, "")
    bad = run(write(tmp_path, WRONG))
    assert (bad.returncode, bad.stdout) == (1, "")
