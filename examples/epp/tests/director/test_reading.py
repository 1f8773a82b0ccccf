import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowgate import FlowKey
from flowgate.contracts import FlowControlRequest
from flowgate_epp.contracts import Decision, Inbound, Refusal
from flowgate_epp.director import DirectorSettings, GatewayRequest, StaticObjectives
from flowgate_epp.director._ids import flow_key
from flowgate_epp.director._intake import Intake, InvalidRequest

Read = Callable[..., GatewayRequest]
Refuse = Callable[..., tuple[Refusal, Decision]]

CHAT = StaticObjectives({"chat": 10, "batch": -1})
SUBSET = {"x-gateway-destination-endpoint-subset": ["10.0.0.1:8000"]}


def test_a_request_of_headers_alone_is_read(read_one: Read) -> None:
    headers = {
        "content-length": "4096",
        "x-llm-d-inference-fairness-id": "tenant-a",
        "x-llm-d-inference-objective": "chat",
        "x-gateway-model-name": "llama",
        "x-request-id": "abc",
        "x-request-ttl-seconds": "2.5",
    }
    request = read_one(headers, objectives=CHAT)
    assert isinstance(request, FlowControlRequest)
    assert request.flow_key() == FlowKey("tenant-a", 10)
    assert (request.byte_size(), request.request_id(), request.model) == (4096, "abc", "llama")
    assert request.initial_effective_ttl() == 2.5
    assert dict(request.get_metadata()) == {"model": "llama", "objective": "chat"}
    assert repr(request) == "GatewayRequest('tenant-a', priority=10, model='llama', byte_size=4096)"


def test_a_request_that_says_nothing_has_the_defaults(read_one: Read) -> None:
    request = read_one(settings=DirectorSettings(default_flow="nobody", default_priority=3))
    assert request.flow_key() == FlowKey("nobody", 3)
    assert (request.byte_size(), request.initial_effective_ttl(), request.model) == (0, None, "")
    assert dict(request.get_metadata()) == {}
    assert len(request.request_id()) == 32
    assert request.request_id() == request.request_id()


def test_the_first_header_there_is_counts(read_one: Read) -> None:
    old = {"x-gateway-inference-objective": "batch", "x-gateway-inference-fairness-id": "old"}
    new = {"x-llm-d-inference-objective": "chat", "x-llm-d-inference-fairness-id": "new"}
    empty = dict.fromkeys(new, "")
    assert read_one(old, objectives=CHAT).flow_key() == FlowKey("old", -1)
    assert read_one({**old, **new}, objectives=CHAT).flow_key() == FlowKey("new", 10)
    assert read_one({**old, **empty}, objectives=CHAT).flow_key() == FlowKey("old", -1)


@pytest.mark.parametrize("name", ["unknown", "10", "chat,batch", "x" * 10_000])
def test_nobody_writes_a_priority_of_their_own(name: str, read_one: Read) -> None:
    request = read_one({"x-llm-d-inference-objective": name}, objectives=CHAT)
    assert request.flow_key().priority == 0
    assert "objective" not in request.get_metadata()


def test_an_objective_of_priority_0_is_not_an_unknown_one(read_one: Read) -> None:
    request = read_one(
        {"x-llm-d-inference-objective": "plain"},
        objectives=StaticObjectives({"plain": 0}),
        settings=DirectorSettings(default_priority=5),
    )
    assert request.flow_key().priority == 0


@pytest.mark.parametrize("flow", ["x" * 10_000, "caf\u00e9", "a\nb"])
def test_hostile_names_are_cleaned(flow: str, read_one: Read) -> None:
    names = ("x-llm-d-inference-fairness-id", "x-gateway-model-name", "x-request-id")
    request = read_one(dict.fromkeys(names, flow))
    for name in (request.flow_key().id, request.model, request.request_id(), request.get_metadata()["model"]):
        assert isinstance(name, str)
        assert name.isascii()
        assert name.isprintable()
        assert len(name) <= 128
        assert name != flow


def test_a_thousand_flows_stay_a_thousand_flows() -> None:
    ids = [f"{'x' * 5_000}{number}" for number in range(500)] + [f"fl\u00f6w {number}" for number in range(500)]
    assert len({flow_key(flow_id, 0) for flow_id in ids}) == 1_000


def test_the_body_names_the_model_before_a_header_does(read_one: Read) -> None:
    assert read_one({"x-gateway-model-name": "header"}, b'{"model": "body"}').model == "body"
    assert read_one({"x-gateway-model-name": "header"}, b'{"model": ""}').model == "header"


@pytest.mark.parametrize(
    ("text", "size"), [("12", 12), ("999999990", 65_536), ("-1", 0), ("", 0), ("1_0", 0), ("9" * 19, 0), ("\u0661", 0)]
)
def test_a_stated_size_is_believed_where_it_is_one(text: str, size: int, read_one: Read) -> None:
    assert read_one({"content-length": text}).byte_size() == size


def test_the_size_of_a_body_is_its_own(read_one: Read) -> None:
    assert read_one({"content-length": "5"}, b"{}").byte_size() == 2


@pytest.mark.parametrize(
    ("text", "ttl"), [("5", 5.0), ("0.25", 0.25), (".5", 0.5), ("5.", 5.0), ("59.9", 59.9), ("9" * 500, 60.0)]
)
def test_a_client_may_shorten_its_wait(text: str, ttl: float, read_one: Read) -> None:
    assert read_one({"x-request-ttl-seconds": text}).initial_effective_ttl() == ttl


@pytest.mark.parametrize(
    "text", ["", "0", "0.0", "-1", "nan", "inf", "1e3", "1_000", "5s", "5,10", " 5", "\u0661", "."]
)
def test_a_wait_that_is_none_is_answered_400_with_value_and_rule(text: str, refuse_one: Refuse) -> None:
    refusal, decision = refuse_one({"x-request-ttl-seconds": text, "x-llm-d-inference-fairness-id": "t"})
    assert (refusal.status, refusal.reason) == (400, "invalid")
    assert refusal.message == f"x-request-ttl-seconds must be a number of seconds, more than 0, not {text!r}"
    assert (decision.flow_id, decision.outcome.name, decision.status) == ("t", "REJECTED_INVALID", 400)


def test_a_long_bad_value_is_told_in_short(refuse_one: Refuse) -> None:
    refusal, _ = refuse_one({"x-request-ttl-seconds": "x" * 10_000})
    assert len(refusal.message) < 150


def test_an_absent_header_leaves_no_trace_in_the_metadata(read_one: Read) -> None:
    request = read_one(metadata={"other": {}}, settings=DirectorSettings(metadata_headers=("x-absent",)))
    assert dict(request.get_metadata()) == {"headers": {}}


def test_other_headers_may_be_chosen_in_any_case(read_one: Read) -> None:
    settings = DirectorSettings(
        objective_headers=["X-Objective"],  # type: ignore[arg-type]
        fairness_headers=("X-Tenant",),
        model_headers=("X-Model",),
        ttl_header="X-TTL",
        max_ttl=9.0,
    )
    headers = {"x-objective": "chat", "x-tenant": "t", "x-model": "m", "x-ttl": "30", "x-request-ttl-seconds": "bad"}
    request = read_one(headers, settings=settings, objectives=CHAT)
    assert (request.flow_key(), request.model, request.initial_effective_ttl()) == (FlowKey("t", 10), "m", 9.0)


def test_without_a_ttl_header_no_header_says_how_long(read_one: Read) -> None:
    settings = DirectorSettings(ttl_header="")
    assert read_one({"x-request-ttl-seconds": "bad", "": "bad"}, settings=settings).initial_effective_ttl() is None


def test_only_chosen_namespaces_and_headers_reach_the_metadata(read_one: Read) -> None:
    request = read_one(
        {"x-slo-ttft-ms": "250", "authorization": "secret"},
        metadata={"envoy.lb.subset_hint": SUBSET, "envoy.lb": {"other": 1}},
        settings=DirectorSettings(metadata_headers=("X-SLO-TTFT-ms", "x-absent")),
    )
    chosen = {"x-slo-ttft-ms": "250"}
    assert dict(request.get_metadata()) == {"envoy.lb.subset_hint": SUBSET, "headers": chosen, **chosen}


def test_a_header_cannot_stand_in_for_the_gateways_metadata(read_one: Read) -> None:
    settings = DirectorSettings(metadata_headers=("envoy.lb.subset_hint",))
    request = read_one(
        {"envoy.lb.subset_hint": "spoofed"}, metadata={"envoy.lb.subset_hint": SUBSET}, settings=settings
    )
    assert request.get_metadata()["envoy.lb.subset_hint"] == SUBSET


def test_a_bad_body_is_told_before_a_bad_wait() -> None:
    intake = Intake(DirectorSettings(strict_body=True), CHAT)
    with pytest.raises(InvalidRequest, match="the body must be JSON") as caught:
        intake.read(Inbound({"x-request-ttl-seconds": "bad"}, body=b"{"))
    assert caught.value.request.initial_effective_ttl() is None


NAMES = ("content-length", "x-request-id", "x-llm-d-inference-fairness-id", "x-request-ttl-seconds")


@given(
    st.dictionaries(st.sampled_from([*NAMES, "x-gateway-model-name"]), st.text(st.characters(codec=None))),
    st.none() | st.binary(),
)
def test_whatever_a_client_sends_is_read_or_refused(headers: dict[str, str], body: bytes | None) -> None:
    intake = Intake(DirectorSettings(), CHAT)
    try:
        request = intake.read(Inbound(headers, body=body))
    except InvalidRequest as error:
        request = error.request
    ttl = request.initial_effective_ttl()
    assert ttl is None or 0 < ttl <= 60
    assert request.byte_size() >= 0
    assert len(request.flow_key().id) <= 128


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: DirectorSettings(default_priority=True), TypeError, "default_priority must be an int, not True"),
        (lambda: DirectorSettings(default_flow=""), ValueError, "default_flow must not be empty"),
        (lambda: DirectorSettings(max_ttl=0), ValueError, "max_ttl must be more than 0 seconds, not 0"),
        (lambda: DirectorSettings(max_ttl=float("inf")), ValueError, "max_ttl must be finite, not inf"),
        (lambda: DirectorSettings(ttl_header=5), TypeError, "ttl_header must be a str, not 5"),
        (lambda: DirectorSettings(fairness_headers="x-a"), TypeError, "fairness_headers must be a list of names"),
        (lambda: DirectorSettings(fairness_headers=5), TypeError, "fairness_headers must be a list of names, not 5"),
        (lambda: DirectorSettings(model_headers=("",)), TypeError, "model_headers must be a list of names"),
        (lambda: DirectorSettings(model_headers=(5,)), TypeError, "model_headers must be a list of names"),
        (
            lambda: DirectorSettings(metadata_headers=("Model",)),
            ValueError,
            "must not name 'model', which the director",
        ),
        (lambda: DirectorSettings(metadata_namespaces=("headers",)), ValueError, "must not name 'headers'"),
        (lambda: DirectorSettings(empty_subset="some"), ValueError, "empty_subset must be one of 'none', 'all'"),
        (lambda: DirectorSettings(answers="old"), ValueError, "answers must be one of 'standard', 'pr-1952'"),
        (lambda: DirectorSettings(strict_body=1), TypeError, "strict_body must be a bool, not 1"),
        (lambda: DirectorSettings(assumed_tokens=-1), ValueError, "assumed_tokens must be 0 or more, not -1"),
        (lambda: StaticObjectives({"": 1}), ValueError, "priorities must have objectives' names as keys, not ''"),
        (lambda: StaticObjectives({"a": True}), TypeError, "the priority of objective 'a' must be an int, not True"),
        (lambda: StaticObjectives([]), TypeError, r"priorities must be a Mapping, not \[\]"),
    ],
)
def test_a_bad_setting_is_refused_with_its_rule(make: Callable[[], Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        make()


def test_objectives_are_what_was_listed_then() -> None:
    listed = {"chat": 1}
    objectives = StaticObjectives(listed)
    listed["chat"] = 9
    assert (objectives.priority("chat"), objectives.priority("other")) == (1, None)


def test_an_empty_subset_waits_or_goes_as_the_settings_say(new_rig: Any) -> None:
    hint = {"envoy.lb.subset_hint": {"x-gateway-destination-endpoint-subset": []}}

    async def main(empty_subset: Any) -> bool:
        async with new_rig(1, settings=DirectorSettings(empty_subset=empty_subset)) as rig:
            answer = await rig.decide({"x-request-ttl-seconds": "0.01"}, metadata=hint)
            if isinstance(answer, Refusal):
                assert (answer.status, answer.reason) == (503, "no-pods")
                return False
            answer.close(is_complete=False)
            return True

    assert asyncio.run(main("all"))
    assert not asyncio.run(main("none"))


def test_a_wait_of_many_digits_is_read_in_no_time(refuse_one) -> None:
    """Whatever a header may hold: who reads it holds up everybody else."""
    began = time.process_time()
    refuse_one({"x-request-ttl-seconds": "1" * 60_000 + "x"})
    refuse_one({"x-request-ttl-seconds": "1" * 30_000 + "." + "1" * 30_000 + "x"})
    assert time.process_time() - began < 1.0
