"""An explanation as text and as JSON, whatever is in it."""

import json
import math

import attrs
import pytest

from flowgate import Explanation, FlowKey, Pod, QueueOutcome
from flowgate.stats import PodStats

POD = Pod("a", "10.0.0.1", 8000)
WAITING = Explanation(
    request_id="chat-7",
    outcome=None,
    reason="full",
    message="all its candidates are full",
    flow=FlowKey("alice", 10),
    band="chat",
    lane="'all pods'",
    at=12.0,
    waited=2.0,
    ttl_left=58.0,
    place=2,
    ahead_in_band=3,
    ahead_above=1,
    ahead=("urgent-1", "chat-1"),
    ahead_on_arrival=9,
    estimate=1.5,
    saturation=1.25,
    ceiling=0.75,
    pods=(PodStats(POD, 5, 1.25),),
    pod_count=3,
)


def test_the_text_of_one_that_waits_says_all_in_a_few_lines() -> None:
    """Why, where, behind whom, how long yet, and what its pods are like."""
    assert WAITING.text().splitlines() == [
        "request chat-7 has waited 2.000 s: all its candidates are full",
        "  band 10 chat, flow alice, lane 'all pods'",
        "  place 2 in its flow; ahead of it 3 of its band and 1 of higher bands (urgent-1, chat-1 and 2 more)",
        "  9 were there when it came; about 1.5 s to wait; 58.000 s left",
        "  least full candidate at saturation 1.25; its band may use a pod below 0.75",
        "  pod a at 10.0.0.1:8000: saturation 1.25, 5 in flight",
        "  and 2 more pods",
    ]
    assert str(WAITING) == WAITING.text()


def test_the_text_of_one_that_left_says_how_it_went() -> None:
    """Where to, or why not, and what its caller was told."""
    went = attrs.evolve(WAITING, outcome=QueueOutcome.DISPATCHED, pod=POD, message="its turn came", saturation=0.5)
    assert went.text().startswith("request chat-7 went to 10.0.0.1:8000 after 2.000 s: its turn came\n")
    assert "\n  pod at saturation 0.5;" in went.text()
    assert attrs.evolve(went, pod=None).text().startswith("request chat-7 went after 2.000 s: ")
    dropped = Explanation(
        request_id="chat-7",
        outcome=QueueOutcome.EVICTED_TTL,
        reason="evicted_ttl",
        message="its budget is spent",
        flow=None,
        at=1.0,
        waited=60.0,
        retry_after=2.0,
    )
    assert dropped.text() == (
        "request chat-7 was dropped (evicted_ttl) after 60.000 s: its budget is spent\n  told to come back after 2 s"
    )
    assert (WAITING.state, went.state, dropped.state) == ("waiting", "dispatched", "dropped")


def test_what_is_unknown_is_left_out_of_the_text() -> None:
    """No "None" in any line; a ceiling is told without a saturation, too, and nothing without either."""
    bare = Explanation(
        request_id="r",
        outcome=None,
        reason="no-pods",
        message="it has no candidates",
        flow=FlowKey("a"),
        at=0.0,
        waited=0.0,
    )
    assert bare.text() == "request r has waited 0.000 s: it has no candidates\n  band 0, flow a"
    assert attrs.evolve(bare, ceiling=1.0).text().endswith("\n  its band may use a pod below 1")
    assert attrs.evolve(bare, saturation=1.0).text().endswith("\n  least full candidate at saturation 1")
    assert "\n  no deadline" in attrs.evolve(bare, ttl_left=math.inf).text()


HOSTILE = "\x1b[31mred\r\n\u202e\ud800<b>"


def test_what_a_terminal_would_obey_is_escaped_in_text() -> None:
    """Ids, flows, lanes, pods and messages come from outside; each stays on its line, and none turns it round."""
    odd = attrs.evolve(
        WAITING,
        request_id=HOSTILE,
        message=HOSTILE,
        flow=FlowKey(HOSTILE),
        band=HOSTILE,
        lane=HOSTILE,
        ahead=(HOSTILE,),
        pods=(PodStats(Pod(HOSTILE, "10.0.0.1", 1), 0, 0.0),),
    )
    assert all(line.isprintable() for line in odd.text().split("\n"))
    assert len(odd.text().split("\n")) == len(WAITING.text().split("\n"))
    assert odd.text().count("\\x1b[31mred\\r\\n\\u202e\\ud800<b>") == 7


def test_a_long_name_is_cut_in_text_and_whole_in_the_record() -> None:
    """A request may have an id of a megabyte."""
    long = attrs.evolve(WAITING, request_id="x" * 1_000_000)
    assert len(long.text()) < 1_000
    assert len(long.request_id) == 1_000_000


def test_json_holds_all_of_it() -> None:
    """Every attribute by its name; the flow as its id and priority, and no number that JSON does not know."""
    plain = json.loads(json.dumps(WAITING.as_dict(), allow_nan=False))
    names = {field.name for field in attrs.fields(Explanation)}
    assert plain.keys() == names | {"state", "priority"}
    assert (plain["state"], plain["outcome"], plain["flow"], plain["priority"]) == ("waiting", None, "alice", 10)
    assert plain["pods"] == [
        {"name": "a", "namespace": "default", "endpoint": "10.0.0.1:8000", "in_flight": 5, "saturation": 1.25}
    ]
    assert (plain["pod"], plain["ahead"]) == (None, ["urgent-1", "chat-1"])


@pytest.mark.parametrize("name", ["ttl_left", "estimate", "saturation"])
def test_json_has_no_infinity(name: str) -> None:
    """A request without a deadline, or a detector that says inf, does not spoil the whole answer."""
    odd = attrs.evolve(WAITING, **{name: math.inf}, pods=(PodStats(POD, 0, math.inf),))
    plain = json.loads(json.dumps(odd.as_dict(), allow_nan=False))
    assert plain[name] is None
    assert plain["pods"][0]["saturation"] is None


def test_json_of_one_that_went_names_its_pod() -> None:
    """And of one whose flow could not be read says nothing of it."""
    went = attrs.evolve(WAITING, outcome=QueueOutcome.DISPATCHED, pod=POD, flow=None)
    plain = went.as_dict()
    assert plain["pod"] == {"name": "a", "namespace": "default", "endpoint": "10.0.0.1:8000"}
    assert (plain["outcome"], plain["flow"], plain["priority"]) == ("dispatched", None, None)
