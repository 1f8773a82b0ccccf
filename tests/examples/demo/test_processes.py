"""The demo's processes: pods with last words, and an end that nobody asked for is noticed."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from examples.demo.background import running
from examples.demo.model_pod import ModelPod, last_words
from examples.demo.stopping import run
from examples.demo.watching import EarlyEnd, must_live
from examples.demo.waves import make_calls
from examples.stage import Stage, StartError


def test_a_pod_starts_serves_and_leaves_its_counts(tmp_path: Path) -> None:
    async def live() -> ModelPod:
        async with Stage(tmp_path) as stage:
            pod = ModelPod("pod-7", born=0.0)
            server = await pod.start(stage)
            assert pod.phase == "ready"
            async with stage.http.post(
                f"{server.url}/v1/completions", json={"prompt": "Hi", "max_tokens": 1}
            ) as answer:
                assert (answer.status, answer.headers["x-served-by"]) == (200, "pod-7")
            await pod.stop()
        return pod

    pod = asyncio.run(live())
    assert pod.counts is not None
    assert (pod.phase, pod.counts["served"], pod.counts["most_running"]) == ("stopped", 1, 1)


def test_last_words_are_those_of_a_stop_in_good_order() -> None:
    listening, stopped = '{"event": "listening", "port": 1}', '{"event": "stopped", "served": 3}'
    assert last_words([listening, stopped]) == {"served": 3}
    assert last_words([listening, stopped, "Exception ignored in: nothing of interest"]) == {"served": 3}
    assert last_words([listening]) is None
    assert last_words([]) is None


def test_a_process_that_ends_unasked_is_told_with_its_last_lines(tmp_path: Path) -> None:
    async def live() -> None:
        async with Stage(tmp_path) as stage:
            program = "import sys; print(*range(100), sep='\\n'); sys.exit(3)"
            await must_live(await stage.spawn("broken", sys.executable, "-c", program))

    with pytest.raises(EarlyEnd, match="broken has ended, with 3, and nobody stopped it") as caught:
        asyncio.run(live())
    assert str(caught.value).splitlines()[-2:] == ["  98", "  99"]
    assert "  84" not in str(caught.value).splitlines()


def test_work_that_fails_ends_what_it_runs_beside() -> None:
    async def fail() -> None:
        raise StartError("cannot start")

    async def live() -> None:
        async with running(fail()):
            await asyncio.sleep(60)

    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(live())
    assert caught.group_contains(StartError, match="cannot start")


def test_a_second_signal_does_not_cut_the_end_short() -> None:
    ended: list[str] = []

    async def play() -> int:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(60)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(0.05)
            ended.append("in order")
        return 0

    assert (run(play), ended) == (130, ["in order"])


def test_what_goes_wrong_after_the_signal_is_of_no_interest(capsys: pytest.CaptureFixture[str]) -> None:
    async def play() -> int:
        try:
            os.kill(os.getpid(), signal.SIGHUP)
            await asyncio.sleep(60)
        finally:
            raise StartError("cannot start")

    assert run(play) == 130
    assert capsys.readouterr().err == "stopped: no process is left behind\n"


def test_each_failure_of_a_group_is_told_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    async def play() -> int:
        inner = ExceptionGroup("inner", [EarlyEnd("epp has ended")])
        raise ExceptionGroup("outer", [TimeoutError("too long"), inner])

    assert run(play) == 1
    assert capsys.readouterr().err.splitlines() == ["too long", "epp has ended"]


def test_an_error_of_our_own_is_no_plain_sentence() -> None:
    async def play() -> int:
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        run(play)


def test_clients_that_are_no_longer_wanted_leave_no_process() -> None:
    async def live() -> None:
        async with asyncio.timeout(0.2):
            await make_calls("http://127.0.0.1:1", "burst")

    with pytest.raises(TimeoutError):
        asyncio.run(live())
