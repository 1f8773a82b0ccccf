"""``flowgate explain``: what it asks, what it prints, and with which exit code."""

import json
import socket

import pytest

from flowgate.__main__ import main
from tests.commands.conftest import Picker

TOLD = {"request_id": "r 1", "explanations": [{"text": "request r 1 has waited"}, {"text": "again\n  why: x"}]}


def test_it_prints_each_explanation(picker: Picker, capsys: pytest.CaptureFixture[str]) -> None:
    picker.answer("/explain", TOLD)
    assert main(["explain", "--url", f"{picker.url}/", "r 1"]) == 0
    assert picker.asked == ["/explain?request_id=r+1"]
    assert capsys.readouterr().out == "request r 1 has waited\n\nagain\n  why: x\n"


def test_it_prints_json_where_that_is_wanted(picker: Picker, capsys: pytest.CaptureFixture[str]) -> None:
    picker.answer("/explain", TOLD)
    assert main(["explain", "--url", picker.url, "--json", "r 1"]) == 0
    assert json.loads(capsys.readouterr().out) == TOLD


def test_nothing_reaches_the_terminal_raw(picker: Picker, capsys: pytest.CaptureFixture[str]) -> None:
    picker.answer("/explain", {"explanations": [{"text": "a\x1b[2Jb"}]})
    for option in [], ["--json"]:
        assert main(["explain", "--url", picker.url, *option, "x"]) == 0
        assert "\x1b" not in capsys.readouterr().out


def test_a_request_that_is_not_known_exits_with_1(picker: Picker, capsys: pytest.CaptureFixture[str]) -> None:
    picker.answer("/explain", {"error": "no such\x1b request"}, status=404)
    assert main(["explain", "--url", picker.url, "x"]) == 1
    assert capsys.readouterr().err == f"{picker.url}: no such\\x1b request\n"


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"hello", 200, "is no Endpoint Picker of flowgate"),
        (b"[]", 200, "is no Endpoint Picker of flowgate"),
        (b"{}", 200, "explains nothing: is it an Endpoint Picker?"),
        (b'{"explanations": [1]}', 200, "explains nothing: is it an Endpoint Picker?"),
        (b"{}", 500, "it answers with status 500"),
    ],
)
def test_what_is_no_picker_is_told_in_a_sentence(
    picker: Picker, body: bytes, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    picker.answer("/explain", body, status=status)
    assert main(["explain", "--url", picker.url, "x"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


@pytest.mark.parametrize("url", ["127.0.0.1:9090", "ftp://here", "http://", "nonsense"])
def test_a_url_that_is_none_is_told_with_one_that_is(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--url", url, "x"]) == 2
    error = capsys.readouterr().err
    assert error == f"{url!r} is no URL of an admin port: write it as http://127.0.0.1:9090\n"


def test_where_nobody_listens_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        assert main(["explain", "--url", url, "x"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"nobody answers at {url!r} (")
    assert line.endswith("is the Endpoint Picker running, and is this its admin port?")


def test_a_proxy_of_the_environment_is_not_asked(picker: Picker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    picker.answer("/explain", TOLD)
    assert main(["explain", "--url", picker.url, "x"]) == 0


def test_its_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["explain", "--help"])
    assert "example: flowgate explain --url" in capsys.readouterr().out
