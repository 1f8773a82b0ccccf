"""``flowgate top``: what it draws, and how it ends."""

import builtins
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from flowgate.__main__ import main
from tests.commands.conftest import Picker, closed_pipe

NASTY = "\x1b[2J[bold]x"


def picture(**changed: object) -> dict[str, object]:
    pod = {"name": "pod-1", "endpoint": "10.0.0.1:80", "in_flight": 2, "saturation": 1.0, "is_open": False}
    band = {"priority": 10, "name": "chat", "queued": 1_234, "in_flight": 2, "flows": [{"flow": NASTY, "queued": 1}]}
    went = {"request_id": "r-1", "flow": "a", "priority": 0, "status": 200, "outcome": "dispatched", "reason": None}
    return {
        "ready": True,
        "reasons": [],
        "pool": "llamas",
        "time": 1_060.0,
        "since": 1_000.0,
        "queued": 1_234,
        "max_requests": 5_000,
        "in_flight": 2,
        "saturation": 1.0,
        "outcomes": {"dispatched": 7},
        "dropped": 3,
        "bands": [band],
        "more_bands": 0,
        "pods": [pod],
        "pod_count": 1,
        "decisions": [
            {**went, "queue_wait": 1.5, "pod": "pod-1"},
            {**went, "request_id": NASTY, "queue_wait": 0.0, "pod": None, "status": 429, "reason": "ttl-expired"},
        ],
    } | changed


def end_after(frames: int, between: Callable[[], None] = lambda: None) -> Callable[[float], None]:
    """Stand in for `time.sleep`: after so many frames somebody presses Ctrl-C."""
    left = frames

    def pause(_seconds: float) -> None:
        nonlocal left
        left -= 1
        between()
        if not left:
            raise KeyboardInterrupt

    return pause


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")


def test_once_prints_one_frame(picker: Picker, capsys: pytest.CaptureFixture[str]) -> None:
    picker.answer("/state", picture())
    assert main(["top", "--url", picker.url, "--once"]) == 0
    text = capsys.readouterr().out
    assert "flowgate llamas  ready  up 60 s" in text
    assert "waiting 1,234 of 5,000   at pods 2   pods 1   saturation 100%   admitted 7   refused 3" in text
    for word in "chat", "pod-1", "10.0.0.1:80", "429 ttl-expired", "1.500 s", "went":
        assert word in text


def test_what_clients_chose_is_neither_raw_nor_markup(picker: Picker, capsys: pytest.CaptureFixture[str]) -> None:
    picker.answer("/state", picture(pool=NASTY, ready=False, reasons=[NASTY]))
    assert main(["top", "--url", picker.url, "--once"]) == 0
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert text.count("\\x1b[2J[bold]x") == 4


def test_more_than_fits_is_counted(picker: Picker, capsys: pytest.CaptureFixture[str]) -> None:
    pod = {"name": "p", "endpoint": "10.0.0.1:80", "in_flight": 0, "saturation": 0.0, "is_open": True}
    picker.answer("/state", picture(max_requests=None, more_bands=3, pods=[pod] * 20, pod_count=30))
    assert main(["top", "--url", picker.url, "--once"]) == 0
    text = capsys.readouterr().out
    assert "and 3 more bands" in text
    assert "and 14 more pods" in text


def test_a_pool_without_pods_is_told_as_such(picker: Picker, capsys: pytest.CaptureFixture[str]) -> None:
    picker.answer("/state", picture(pods=[], pod_count=0))
    assert main(["top", "--url", picker.url, "--once"]) == 0
    assert "Pods: none; requests wait until one appears" in capsys.readouterr().out


def test_without_a_terminal_frames_follow_each_other(
    picker: Picker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    picker.answer("/state", picture())
    monkeypatch.setattr(time, "sleep", end_after(3))
    assert main(["top", "--url", picker.url]) == 0
    assert capsys.readouterr().out.count("flowgate llamas") == 3


@pytest.mark.parametrize("options", [["--once"], []])
def test_a_reader_that_leaves_is_no_mistake(
    picker: Picker, options: Sequence[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in ``flowgate top | head``; rich by itself ends the process with 1."""
    picker.answer("/state", picture())
    with closed_pipe() as gone:
        monkeypatch.setattr(sys, "stdout", gone)
        assert main(["top", "--url", picker.url, *options]) == 0
    assert capsys.readouterr().err == ""


def test_on_a_terminal_the_last_picture_stays_while_the_picker_is_away(
    picker: Picker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    picker.answer("/state", picture())
    monkeypatch.setattr(time, "sleep", end_after(2, lambda: picker.answer("/state", {}, status=503)))
    assert main(["top", "--url", picker.url, "--interval", "0.5"]) == 0
    text = capsys.readouterr().out
    assert text.count("llamas") == 2
    assert "answers with status 503" in text


@pytest.mark.parametrize("is_plain", [False, True])
def test_no_color_is_honoured(
    picker: Picker, is_plain: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if is_plain:
        monkeypatch.setenv("NO_COLOR", "1")
    picker.answer("/state", picture())
    assert main(["top", "--url", picker.url, "--once"]) == 0
    green = "\x1b[32m"
    assert (green in capsys.readouterr().out) is not is_plain


@pytest.mark.parametrize("body", [{}, {"ready": True}, picture(bands=[1]), picture(pods=None), picture(since="x")])
def test_what_is_no_picture_is_told_in_a_sentence(
    picker: Picker, body: Mapping[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    picker.answer("/state", body)
    assert main(["top", "--url", picker.url, "--once"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "is no Endpoint Picker of flowgate, or a much older one" in line


def test_without_rich_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> object:
        if name.startswith("rich"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.delitem(sys.modules, "flowgate.commands._frame", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    assert main(["top", "--once"]) == 2
    assert capsys.readouterr().err.endswith("not installed: pip install 'flowgate-admission[top]'\n")


@pytest.mark.parametrize("interval", ["0", "-1", "nan", "inf", "soon"])
def test_an_interval_that_is_none_is_refused(interval: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments: Sequence[str] = ["top", "--interval", interval]
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert f"{interval!r} is no number of seconds of 0.1 or more" in capsys.readouterr().err
