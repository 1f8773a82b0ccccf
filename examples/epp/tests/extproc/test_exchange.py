"""The protocol of one stream, message by message, in all modes and all orders."""

import collections
import itertools
import logging

import pytest
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from hypothesis import given, settings
from hypothesis import strategies as st

from flowgate_epp.contracts import Refusal
from flowgate_epp.extproc import Exchange, Notices

MODES = ["NONE", "STREAMED", "BUFFERED", "BUFFERED_PARTIAL", "FULL_DUPLEX_STREAMED"]
AT_HEADERS = ["NONE", "STREAMED"]
KINDS = [f"{half}_{part}" for half in ("request", "response") for part in ("headers", "body", "trailers")]
ENDPOINT = "10.0.0.1:8000"
DESTINATION = "x-gateway-destination-endpoint"


class Slot:
    """A reservation of the simplest kind."""

    def __init__(self, endpoint=ENDPOINT):
        self.endpoint = endpoint
        self.heard = []

    def responded(self, status, served):
        self.heard.append((status, served))

    def close(self, *, is_complete):
        self.heard.append(is_complete)


def headers(kind="request_headers", *, mode="NONE", response_mode="NONE", ends=False, metadata=None, **values):
    message = pb.ProcessingRequest()
    part = getattr(message, kind)
    part.end_of_stream = ends
    for name, value in values.items():
        names = {"status": ":status", "path": ":path"}
        part.headers.headers.add(key=names.get(name, name), raw_value=value.encode())
    if kind == "request_headers":
        message.protocol_config.request_body_mode = mode
        message.protocol_config.response_body_mode = response_mode
    for namespace, fields in (metadata or {}).items():
        message.metadata_context.filter_metadata[namespace].update(fields)
    return message


def piece(body=b"", *, kind="request_body", ends=False, **flags):
    message = pb.ProcessingRequest()
    getattr(message, kind).MergeFrom(pb.HttpBody(body=body, end_of_stream=ends, **flags))
    return message


def trailers(kind="request_trailers"):
    message = pb.ProcessingRequest()
    getattr(message, kind).SetInParent()
    return message


def exchange(limit=1000, namespaces=("envoy.lb",), notices=None):
    return Exchange(limit, namespaces, notices or Notices())


def read(answers):
    return [pb.ProcessingResponse.FromString(answer) for answer in answers]


def kinds(answers):
    return [answer.WhichOneof("response") for answer in read(answers)]


def picked(answer):
    """Where an answer sends the request: by header, by metadata."""
    part = getattr(answer, answer.WhichOneof("response"))
    mutation = part.response.header_mutation if hasattr(part, "response") else part.header_mutation
    by_header = [(h.header.key, h.header.raw_value, h.append_action) for h in mutation.set_headers]
    by_metadata = answer.dynamic_metadata["envoy.lb"][DESTINATION] if answer.HasField("dynamic_metadata") else None
    return by_header, by_metadata


OVERWRITTEN = [(DESTINATION, ENDPOINT.encode(), 2)]


@pytest.mark.parametrize("mode", MODES)
def test_a_request_without_a_body_is_decided_at_its_headers(mode):
    stream = exchange()
    assert list(stream.receive(headers(mode=mode, ends=True, path="/"))) == []
    assert stream.wants_decision
    assert (stream.inbound.headers, stream.inbound.body) == ({":path": "/"}, None)
    (answer,) = read(stream.decided(Slot()))
    assert answer.WhichOneof("response") == "request_headers"
    assert picked(answer) == (OVERWRITTEN, ENDPOINT)
    assert not answer.request_headers.response.clear_route_cache
    assert not stream.is_undecided


@pytest.mark.parametrize("mode", AT_HEADERS)
def test_modes_whose_headers_cannot_wait_are_decided_at_them(mode):
    stream = exchange()
    assert list(stream.receive(headers(mode=mode))) == []
    assert stream.wants_decision


@pytest.mark.parametrize("mode", ["BUFFERED", "BUFFERED_PARTIAL"])
def test_a_buffered_body_is_decided_and_picked_at_its_answer(mode):
    stream = exchange()
    assert kinds(stream.receive(headers(mode=mode))) == ["request_headers"]
    assert not stream.wants_decision
    assert list(stream.receive(piece(b"{}", ends=True))) == []
    assert stream.inbound.body == b"{}"
    (answer,) = read(stream.decided(Slot()))
    assert answer.WhichOneof("response") == "request_body"
    assert picked(answer) == (OVERWRITTEN, ENDPOINT)
    assert kinds(stream.receive(trailers())) == ["request_trailers"]


def test_a_body_that_envoy_keeps_only_the_beginning_of_is_not_shown():
    stream = exchange()
    stream.receive(headers(mode="BUFFERED_PARTIAL"))
    stream.receive(piece(b'{"model"', ends=False))
    assert stream.wants_decision
    assert stream.inbound.body is None


def test_a_full_duplex_body_is_answered_after_its_end_with_headers_first():
    stream = exchange(200_000)
    body = bytes(range(256)) * 500
    for message in (headers(mode="FULL_DUPLEX_STREAMED"), piece(body[:1000]), piece(body[1000:])):
        assert list(stream.receive(message)) == []
        assert not stream.wants_decision
    assert list(stream.receive(piece(ends=True))) == []
    assert stream.inbound.body == body
    first, *rest = read(stream.decided(Slot()))
    assert picked(first) == (OVERWRITTEN, ENDPOINT)
    pieces = [answer.request_body.response.body_mutation.streamed_response for answer in rest]
    assert [len(found.body) for found in pieces] == [62_000, 62_000, 4_000]
    assert b"".join(found.body for found in pieces) == body
    assert [found.end_of_stream for found in pieces] == [False, False, True]


@pytest.mark.parametrize("size", [0, 1, 62_000, 62_001])
def test_a_full_duplex_body_that_trailers_end_ends_with_their_answer(size):
    stream = exchange(100_000)
    stream.receive(headers(mode="FULL_DUPLEX_STREAMED"))
    stream.receive(piece(bytes(size)))
    stream.receive(trailers())
    assert stream.inbound.body == bytes(size)
    answers = read(stream.decided(Slot()))
    assert picked(answers[0]) == (OVERWRITTEN, ENDPOINT)
    pieces = [answer.request_body.response.body_mutation.streamed_response for answer in answers[1:-1]]
    assert [found.end_of_stream for found in pieces] == [False] * -(-size // 62_000)
    assert answers[-1].WhichOneof("response") == "request_trailers"
    assert picked(answers[-1]) == ([], None)


def test_an_empty_full_duplex_body_still_ends():
    stream = exchange()
    stream.receive(headers(mode="FULL_DUPLEX_STREAMED"))
    stream.receive(piece(ends=True))
    assert stream.inbound.body == b""
    _, end = read(stream.decided(Slot()))
    assert end.request_body.response.body_mutation.streamed_response == pb.StreamedBodyResponse(end_of_stream=True)


@pytest.mark.parametrize("mode", ["BUFFERED", "BUFFERED_PARTIAL"])
def test_where_only_trailers_can_be_answered_metadata_alone_tells_the_pick(mode):
    stream = exchange()
    stream.receive(headers(mode=mode))
    stream.receive(trailers())
    assert stream.inbound.body == b""
    (answer,) = read(stream.decided(Slot()))
    assert answer.WhichOneof("response") == "request_trailers"
    assert picked(answer) == ([], ENDPOINT)


def test_a_streamed_body_is_passed_on_however_long():
    stream = exchange(limit=1)
    stream.receive(headers(mode="STREAMED"))
    assert list(stream.receive(piece(b"early"))) == []
    assert list(stream.receive(trailers())) == []
    assert kinds(stream.decided(Slot())) == ["request_headers", "request_body", "request_trailers"]
    assert read(stream.receive(piece(b"late", ends=True))) == [pb.ProcessingResponse(request_body=pb.BodyResponse())]


@pytest.mark.parametrize("unknown", ["mode", "response_mode"])
def test_a_body_mode_not_known_here_is_refused(unknown, caplog):
    stream = exchange()
    (answer,) = read(stream.receive(headers(**{unknown: "GRPC"})))
    assert answer.immediate_response.status.code == 500
    assert "body mode" in caplog.text


@pytest.mark.parametrize("mode", ["BUFFERED", "BUFFERED_PARTIAL", "FULL_DUPLEX_STREAMED"])
def test_a_body_beyond_the_limit_is_refused(mode):
    for size, is_refused in ((100, False), (101, True)):
        stream = exchange(limit=100)
        stream.receive(headers(mode=mode))
        parts = [size] if mode.startswith("BUFFERED") else [60, size - 60]
        answers = [answer for part in parts for answer in stream.receive(piece(bytes(part)))]
        assert stream.is_refused is is_refused
        assert [answer.immediate_response.status.code for answer in read(answers)] == [413] * is_refused
        assert not (is_refused and stream.wants_decision)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fed", [1, 2])
@pytest.mark.parametrize(
    "own", [headers("response_headers"), piece(kind="response_body"), trailers("response_trailers")], ids=KINDS[3:]
)
def test_an_answer_of_envoys_own_leaves_nothing_to_decide(mode, fed, own):
    stream = exchange()
    for message in [headers(mode=mode), piece(b"{}", ends=True)][:fed]:
        stream.receive(message)
    assert kinds(stream.receive(own)) == [own.WhichOneof("request")]
    assert not stream.wants_decision
    assert not stream.is_undecided
    slot = Slot()
    assert list(stream.decided(slot)) == []
    assert slot.heard == [False]
    assert list(stream.decided(Refusal(503, None, "Late."))) == []


def test_a_response_to_a_request_that_never_came_here_passes():
    stream = exchange()
    for message in (headers("response_headers"), piece(kind="response_body"), trailers("response_trailers")):
        kind = message.WhichOneof("request")
        assert kinds(stream.receive(message)) == [kind]
    stream.end()


@pytest.mark.parametrize("first", [piece(b"{}"), trailers()], ids=["body", "trailers"])
def test_a_request_without_headers_is_refused_not_waved_through(first, caplog):
    notices = Notices()
    for _ in range(2):
        stream = exchange(notices=notices)
        (answer,) = read(stream.receive(first))
        assert answer.immediate_response.status.code == 500
    assert caplog.text.count("out of order") == 1


def test_second_headers_are_refused_before_the_decision_and_pass_after_it():
    stream = exchange()
    stream.receive(headers())
    assert kinds(stream.receive(headers())) == ["immediate_response"]
    passing = exchange()
    passing.receive(headers())
    passing.decided(Slot())
    assert kinds(passing.receive(headers())) == ["request_headers"]


def test_an_unknown_message_is_told_of_once(caplog):
    notices = Notices()
    for _ in range(2):
        stream = exchange(notices=notices)
        assert list(stream.receive(pb.ProcessingRequest())) == []
        assert stream.is_undecided
    assert caplog.text.count("not known here") == 1


def test_in_observability_mode_nothing_is_decided(caplog):
    stream = exchange()
    message = headers()
    message.observability_mode = True
    assert list(stream.receive(message)) == []
    assert not stream.wants_decision
    assert not stream.is_undecided
    assert "observability" in caplog.text


def test_a_refusal_tells_status_headers_and_why():
    stream = exchange()
    stream.receive(headers())
    refusal = Refusal(429, "rejected-capacity", "Full: try later.", {"retry-after": "3", "content-type": "text/x"})
    (answer,) = read(stream.decided(refusal))
    found = answer.immediate_response
    assert found.status.code == 429
    assert {h.header.key: h.header.raw_value for h in found.headers.set_headers} == {
        "content-type": b"text/x",
        "retry-after": b"3",
    }
    assert found.body == (
        b'{"error": {"message": "Full: try later.", "type": "rate_limit_error", "code": "rejected-capacity"}}'
    )
    assert found.details == "flowgate_epp:rejected-capacity"
    assert stream.is_refused
    assert list(stream.receive(piece(b"late"))) == []


def test_a_refusal_without_a_reason_is_told_by_its_status():
    stream = exchange()
    stream.receive(headers())
    (answer,) = read(stream.decided(Refusal(400, None, "Wrong.")))
    assert answer.immediate_response.details == "flowgate_epp:400"
    assert b'"code": null' in answer.immediate_response.body


def served(mode="NONE"):
    stream, slot = exchange(), Slot()
    stream.receive(headers(response_mode=mode))
    stream.decided(slot)
    return stream, slot


def test_the_slot_hears_of_status_and_endpoint():
    stream, slot = served()
    where = {"envoy.lb": {f"{DESTINATION}-served": "10.0.0.2:80"}}
    stream.receive(headers("response_headers", server="envoy", status="200", metadata=where))
    assert slot.heard == [(200, "10.0.0.2:80")]


@pytest.mark.parametrize(
    ("metadata", "status"),
    [
        ({}, "abc"),
        ({"other": {"x": 1}}, ""),
        ({"envoy.lb": {"x": "y"}}, "²"),
        ({"envoy.lb": {f"{DESTINATION}-served": 1}}, "2x"),
    ],
)
def test_what_envoy_does_not_tell_is_not_made_up(metadata, status):
    stream, slot = served()
    stream.receive(headers("response_headers", status=status, metadata=metadata))
    assert slot.heard == [(0, None)]


@pytest.mark.parametrize(
    ("mode", "messages", "is_complete"),
    [
        ("NONE", [], False),
        ("NONE", [headers("response_headers")], True),
        ("STREAMED", [headers("response_headers")], False),
        ("STREAMED", [headers("response_headers"), piece(kind="response_body")], False),
        ("STREAMED", [headers("response_headers"), piece(kind="response_body", ends=True)], True),
        ("STREAMED", [headers("response_headers", ends=True)], True),
        ("STREAMED", [headers("response_headers"), trailers("response_trailers")], True),
        ("FULL_DUPLEX_STREAMED", [headers("response_headers"), piece(kind="response_body", ends=True)], True),
    ],
)
def test_whether_a_response_was_complete(mode, messages, is_complete):
    stream, slot = served(mode)
    for message in messages:
        assert kinds(stream.receive(message)) == [message.WhichOneof("request")]
    stream.end()
    stream.end()
    assert [told for told in slot.heard if isinstance(told, bool)] == [is_complete]


def test_a_full_duplex_response_is_given_back():
    stream, _ = served("FULL_DUPLEX_STREAMED")
    body = bytes(62_001)
    answers = read(stream.receive(piece(body, kind="response_body", ends=True)))
    pieces = [answer.response_body.response.body_mutation.streamed_response for answer in answers]
    assert (b"".join(found.body for found in pieces), [found.end_of_stream for found in pieces]) == (
        body,
        [False, True],
    )


def test_streams_that_end_at_the_pick_are_told_of_when_no_response_is_ever_seen(caplog):
    notices = Notices()
    for has_response, count in itertools.chain([(False, 0)] * 2, [(True, 0)], [(False, 0)] * 2, [(False, 1)] * 3):
        stream = exchange(notices=notices)
        stream.receive(headers())
        stream.decided(Slot())
        if has_response:
            stream.receive(headers("response_headers"))
        stream.end()
        assert caplog.text.count("response_header_mode") == count
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_headers_are_joined_replaced_and_read_from_either_field():
    message = pb.ProcessingRequest()
    add = message.request_headers.headers.headers.add
    add(key="x-twice", raw_value=b"one")
    add(key="x-raw", raw_value=b"caf\xe9")
    add(key="x-twice", raw_value=b"two")
    add(key="x-old", value="old")
    add(key="x-empty")
    stream = exchange()
    stream.receive(message)
    expected = {"x-twice": "one,two", "x-raw": "caf\ufffd", "x-old": "old", "x-empty": ""}
    assert stream.inbound.headers == expected


def test_only_metadata_of_the_namespaces_asked_for_is_read():
    fields = {
        "text": "a",
        "number": 1.5,
        "yes": True,
        "nothing": None,
        "list": [1, "b", [None]],
        "deep": {"deeper": {}},
    }
    metadata = {"envoy.lb": fields, "other": {"secret": "x"}}
    stream = exchange(namespaces=("envoy.lb", "missing"))
    stream.receive(headers(metadata=metadata))
    assert stream.inbound.metadata == {"envoy.lb": fields}
    without = exchange()
    without.receive(headers())
    assert without.inbound.metadata == {}


def test_picks_differ_by_endpoint():
    stream = exchange()
    stream.receive(headers())
    (answer,) = read(stream.decided(Slot("[fd00::1]:9")))
    assert picked(answer)[1] == "[fd00::1]:9"


STEPS = st.one_of(
    st.builds(
        headers,
        st.sampled_from(["request_headers", "response_headers"]),
        mode=st.sampled_from(MODES),
        response_mode=st.sampled_from(MODES),
        ends=st.booleans(),
        status=st.sampled_from(["200", "503"]),
    ),
    st.builds(
        piece, st.binary(max_size=40), kind=st.sampled_from(["request_body", "response_body"]), ends=st.booleans()
    ),
    st.builds(trailers, st.sampled_from(["request_trailers", "response_trailers"])),
    st.sampled_from(["pick", "refuse", "dismiss"]),
)


@settings(deadline=None)
@given(st.sampled_from(MODES), st.booleans(), st.lists(STEPS, max_size=12))
def test_no_order_of_messages_leaks_a_slot_or_lets_an_undecided_request_pass(mode, is_ordered, steps):
    stream, slots, asked, given_answers = exchange(limit=64), [], collections.Counter(), []
    for step in ([headers(mode=mode)] if is_ordered else []) + steps:
        was_undecided = stream.is_undecided
        if step == "dismiss":
            answers = kinds(stream.refuse(Refusal(503, None, "No.")))
            assert answers == ["immediate_response"] * was_undecided
        elif isinstance(step, str):
            if not stream.wants_decision:
                continue
            if step == "pick":
                slots.append(Slot())
            answers = kinds(stream.decided(slots[-1] if step == "pick" else Refusal(429, None, "No.")))
            assert not stream.is_undecided
            assert answers
        else:
            asked[step.WhichOneof("request")] += 1
            raw = read(stream.receive(step))
            assert not any(answer.HasField("dynamic_metadata") for answer in raw)
            answers = [answer.WhichOneof("response") for answer in raw]
            if was_undecided and stream.is_undecided:
                assert answers in ([], ["request_headers"])
                assert not answers or not stream.wants_decision
        given_answers += answers
        if stream.is_refused:
            break
    stream.end()
    counts = collections.Counter(given_answers)
    assert counts["immediate_response"] <= 1
    assert all(counts[kind] <= asked[kind] for kind in KINDS if not kind.endswith("_body"))
    for slot in slots:
        assert [told for told in slot.heard if isinstance(told, bool)] in ([True], [False])
    assert len(slots) <= 1
