"""Plain items and flows are what their contracts say, and say little when they are shown."""

from flowgate import FlowKey, Request
from flowgate.contracts import FlowControlRequest
from flowgate.queues import ListQueue
from flowgate.testing import Flow, Item


def test_items_arrive_one_after_the_other() -> None:
    first, second = Item(), Item()
    assert first.arrival < second.arrival


def test_an_item_belongs_to_the_flow_of_its_request() -> None:
    assert Item(request=Request("tenant-a", priority=3)).flow_key == FlowKey("tenant-a", 3)


def test_an_item_has_a_request_that_says_nothing_special() -> None:
    request: FlowControlRequest = Item().request
    assert isinstance(request, FlowControlRequest)
    assert (request.request_id(), request.byte_size(), request.flow_key().id) == ("asked", 0, "a")
    assert (request.initial_effective_ttl(), dict(request.get_metadata())) == (None, {})


def test_an_item_shows_what_is_special_about_it() -> None:
    assert repr(Item(arrival=7)) == "<item 7>"
    assert repr(Item(arrival=7, score=2.0, deadline=1.5)) == "<item 7 score=2.0 deadline=1.5>"


def test_a_flow_is_a_view_of_its_queue() -> None:
    flow = Flow(ListQueue(), name="tenant-a")
    assert (len(flow), flow.byte_size, flow.head, flow.tail) == (0, 0, None, None)
    first, last = Item(byte_size=2), Item(byte_size=3)
    flow.queue.add(first)
    flow.queue.add(last)
    assert (len(flow), flow.byte_size, flow.head, flow.tail) == (2, 5, first, last)
    assert repr(flow) == "<flow tenant-a>"
