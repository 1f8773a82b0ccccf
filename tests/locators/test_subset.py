"""SubsetPodLocator: the endpoint-picker protocol's subset hint, and what it must not be tricked into."""

import ipaddress
import logging
import random
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowgate.contracts import Pod, PodMetrics, SelectionKeyed, TimeVarying, Watchable
from flowgate.locators import StaticPodLocator, SubsetPodLocator
from tests.locators.plain import ModelLocator, PlainLocator, TimedLocator

A = Pod("a", "10.0.0.1", 80)
A2 = Pod("a2", "10.0.0.1", 81)
B = Pod("b", "10.0.0.2", 80)
V6 = Pod("v6", "FD00:0::1", 80)
NAMED = Pod("named", "Model.Example", 80)
PODS = (A, A2, B, V6, NAMED)

NAMESPACE = "envoy.lb.subset_hint"
KEY = "x-gateway-destination-endpoint-subset"
MALFORMED: list[Any] = [
    None,
    "10.0.0.1:80",
    7,
    {"10.0.0.1:80": True},
    [7],
    [None],
    ["10.0.0.1:80", 7],
    [["10.0.0.1:80"]],
    [b"10.0.0.1:80"],
    [""],
    [":80"],
    ["10.0.0.1:"],
    ["10.0.0.1:0"],
    ["10.0.0.1:65536"],
    ["10.0.0.1:-1"],
    ["10.0.0.1:http"],
    ["10.0.0.1:٨٠"],
    ["10.0.0.1 :80"],
    ["10.0.0.1:80,10.0.0.2:80"],
    ["[::1"],
    ["::1]"],
    ["[::1]80"],
    ["[::1]:"],
    ["[10.0.0.1]:80"],
    ["[]"],
    ["::1::2"],
    ["fd00::1:99999"],
    ["a" * 301],
]


def hint(value: object) -> dict[str, object]:
    return {NAMESPACE: {KEY: value}}


def key_of(locator: SubsetPodLocator, metadata: Mapping[str, object]) -> object:
    assert locator.selection_key is not None
    return locator.selection_key(metadata)


def names(locator: SubsetPodLocator, value: object) -> list[str]:
    return [pod.name for pod in locator.locate(hint(value))]


@pytest.fixture
def locator() -> SubsetPodLocator:
    return SubsetPodLocator(StaticPodLocator(PODS))


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (["10.0.0.1:80"], ["a"]),
        (["10.0.0.1:81"], ["a2"]),
        (["10.0.0.1:82"], []),
        (["10.0.0.1"], ["a", "a2"]),
        (["10.0.0.2:80", "10.0.0.1:80"], ["a", "b"]),
        (("10.0.0.2:80", "10.0.0.2", "10.0.0.2:80"), ["b"]),
        (["10.0.0.9:80", "10.0.0.2:00080"], ["b"]),
        (["[fd00::1]:80"], ["v6"]),
        (["[fd00::1]:81"], []),
        (["[fd00::1]"], ["v6"]),
        (["fd00::1"], ["v6"]),
        (["FD00:0:0:0:0:0:0:1"], ["v6"]),
        (["[fd00::0.0.0.1]:80"], ["v6"]),
        (["model.example:80", "MODEL.EXAMPLE"], ["named"]),
        ([], []),
    ],
)
def test_members_match_by_address_and_by_port_when_they_name_one(
    locator: SubsetPodLocator, members: Any, expected: list[str]
) -> None:
    """Port respected; IPv6 in brackets or bare in any spelling; inner order; each pod once; an empty list is none."""
    assert names(locator, members) == expected
    assert locator.malformed == 0


@pytest.mark.parametrize("metadata", [{}, {"x": 1}, {NAMESPACE: {}}, {NAMESPACE: {"other": ["10.0.0.1"]}}])
def test_no_hint_selects_all_pods(locator: SubsetPodLocator, metadata: dict[str, object]) -> None:
    """An absent namespace or key is no hint: the inner locator's own answer, and one lane."""
    assert locator.locate(metadata) is locator.locate({})
    assert locator.locate(metadata) == PODS
    assert key_of(locator, metadata) == key_of(locator, {})


def test_an_empty_hint_is_not_an_absent_one(locator: SubsetPodLocator) -> None:
    """An empty list is a selection of its own."""
    assert key_of(locator, hint([])) != key_of(locator, {})


def test_empty_hint_all_makes_an_empty_list_no_hint() -> None:
    """With empty_hint="all" the empty list shares lane and pods with requests that have none; nothing else changes."""
    locator = SubsetPodLocator(StaticPodLocator(PODS), empty_hint="all")
    assert names(locator, []) == [pod.name for pod in PODS]
    assert key_of(locator, hint([])) == key_of(locator, {})
    assert names(locator, ["10.0.0.2"]) == ["b"]
    assert names(locator, [7]) == []


@pytest.mark.parametrize("value", MALFORMED, ids=repr)
def test_a_malformed_hint_is_a_selection_of_its_own_and_matches_nothing(locator: SubsetPodLocator, value: Any) -> None:
    """It never shares the key of requests without a hint, with an empty one, or with a good one; it is counted."""
    others = [key_of(locator, other) for other in ({}, hint([]), hint(["10.0.0.1:80"]), hint(["10.0.0.1"]))]
    assert key_of(locator, hint(value)) not in others
    assert names(locator, value) == []
    assert locator.locate({}) == PODS
    assert locator.malformed == 2


@pytest.mark.parametrize("namespace", [None, [], "x", 7])
def test_a_namespace_that_is_no_mapping_is_malformed(locator: SubsetPodLocator, namespace: object) -> None:
    """The namespace is there and cannot be read: nothing matches, rather than everything."""
    assert locator.locate({NAMESPACE: namespace}) == ()
    assert key_of(locator, {NAMESPACE: namespace}) == key_of(locator, hint(7))
    assert locator.malformed == 3


def test_malformed_hints_are_logged_once_and_shortened(
    locator: SubsetPodLocator, caplog: pytest.LogCaptureFixture
) -> None:
    """A client cannot fill the log, neither with many hints nor with a long one."""
    for _ in range(10):
        locator.locate(hint(["x" * 100_000]))
    assert locator.malformed == 10
    assert [(record.levelno, record.name) for record in caplog.records] == [(logging.WARNING, "flowgate.locators")]
    assert len(caplog.records[0].getMessage()) < 500


def test_keys_are_not_joined_text(locator: SubsetPodLocator) -> None:
    """One odd member and two plain ones never share a key, whatever character joins them."""
    for joiner in "|,;/":
        assert key_of(locator, hint([f"a{joiner}b"])) != key_of(locator, hint(["a", "b"]))


def test_equal_selections_share_a_key(locator: SubsetPodLocator) -> None:
    """Order, duplicates and spelling do not matter; a port does."""
    assert key_of(locator, hint(["fd00::1", "10.0.0.1:80"])) == key_of(
        locator, hint(("10.0.0.1:080", "[FD00:0::1]", "fd00::1"))
    )
    assert key_of(locator, hint(["10.0.0.1"])) != key_of(locator, hint(["10.0.0.1:80"]))


def test_order_never_depends_on_hashes() -> None:
    """Many members in any order: one key, and the pods in the inner locator's order."""
    pods = [Pod(f"p{i}", f"10.0.{i // 250}.{i % 250}", 80) for i in range(2_000)]
    locator = SubsetPodLocator(StaticPodLocator(pods))
    chosen = pods[::7]
    keys: set[object] = set()
    for seed in range(10):
        shuffled = random.Random(seed).sample([pod.endpoint for pod in chosen], k=len(chosen))
        keys.add(key_of(locator, hint(shuffled)))
        assert list(locator.locate(hint(shuffled))) == chosen
    assert len(keys) == 1
    assert list(locator.locate(hint([pods[9].endpoint, pods[2].endpoint]))) == [pods[2], pods[9]]


def test_the_inner_key_is_part_of_the_key() -> None:
    """Requests whom the inner locator tells apart do not share a lane."""
    inner = ModelLocator(x=(A,), y=(B,))
    locator = SubsetPodLocator(inner)
    x, y = ({"model": model, **hint(["10.0.0.1", "10.0.0.2"])} for model in "xy")
    assert key_of(locator, x) != key_of(locator, y)
    assert [locator.locate(metadata) for metadata in (x, y, x)] == [(A,), (B,), (A,)]


def test_many_inner_selections_need_no_more_than_bounded_memory() -> None:
    """Only the indexes used last are kept; answers stay right."""
    inner = ModelLocator(**{f"m{i}": (Pod(f"p{i}", "10.0.0.1", 80),) for i in range(200)})
    locator = SubsetPodLocator(inner)
    for i in [*range(200), 0, 199]:
        assert [pod.name for pod in locator.locate({"model": f"m{i}", **hint(["10.0.0.1"])})] == [f"p{i}"]
    assert len(locator._indexes) == 64


def test_a_changed_pool_is_followed() -> None:
    """New pods, gone pods, and new metrics of the same pods are in the very next answer."""
    pool = StaticPodLocator()
    locator = SubsetPodLocator(pool)
    assert names(locator, ["10.0.0.1"]) == []
    pool.set_pods([B, A])
    assert locator.locate(hint(["10.0.0.1"])) == (A,)
    measured = attrs.evolve(A, metrics=PodMetrics(1, 1, 0.5, 1.0))
    pool.set_pods([B, measured])
    [pod] = locator.locate(hint(["10.0.0.1"]))
    assert pod is measured
    pool.set_pods([B])
    assert names(locator, ["10.0.0.1"]) == []


def test_a_list_changed_in_place_is_followed() -> None:
    """An inner locator may answer with one list that it changes; what was answered before does not change."""
    pods = [A]
    locator = SubsetPodLocator(PlainLocator(pods))
    before = locator.locate(hint(["10.0.0.1"]))
    pods.append(A2)
    assert locator.locate(hint(["10.0.0.1"])) == (A, A2)
    pods[0] = measured = attrs.evolve(A, metrics=PodMetrics(1, 1, 0.5, 1.0))
    assert locator.locate(hint(["10.0.0.1"]))[0] is measured
    assert before == (A,)


def test_a_pod_that_the_inner_locator_names_twice_is_answered_once() -> None:
    """Candidates are a set in order."""
    locator = SubsetPodLocator(PlainLocator([B, A, B]))
    assert locator.locate(hint(["10.0.0.2", "10.0.0.1"])) == (B, A)


def test_only_the_inner_locators_parts_are_offered() -> None:
    """A part that the inner locator lacks is None, which every way of asking takes for absent."""
    plain: Any = SubsetPodLocator(PlainLocator(PODS))
    assert [plain.selection_key, plain.subscribe, plain.bind, plain.next_change] == [None] * 4
    assert not isinstance(plain, Watchable | TimeVarying)
    assert plain.locate(hint(["10.0.0.2"])) == (B,)

    timed = TimedLocator(x=PODS)
    wrapped: Any = SubsetPodLocator(timed)
    assert (wrapped.bind, wrapped.next_change) == (timed.bind, timed.next_change)
    assert wrapped.subscribe is None
    keyed: SelectionKeyed = wrapped
    assert keyed.selection_key({"model": "x"}) != keyed.selection_key({"model": "y"})


def test_changes_of_the_inner_locator_are_announced() -> None:
    """Who subscribes here hears what the inner locator announces."""
    pool = StaticPodLocator()
    locator = SubsetPodLocator(pool)
    heard: list[Sequence[Pod] | None] = []
    assert locator.subscribe is not None
    locator.subscribe(lambda pods=None: heard.append(pods))
    pool.set_pods([A])
    assert heard == [None]


def test_bad_arguments_are_refused() -> None:
    """An unknown empty_hint and a locator that cannot locate are errors that say so."""
    unknown: Any = "some"
    with pytest.raises(ValueError, match='empty_hint must be "none" or "all", not \'some\''):
        SubsetPodLocator(StaticPodLocator(), empty_hint=unknown)
    no_locator: Any = [A]
    with pytest.raises(TypeError, match="locator must have a locate method"):
        SubsetPodLocator(no_locator)


def test_repr_shows_what_it_wraps() -> None:
    """The repr is the call that makes it."""
    assert repr(SubsetPodLocator(PlainLocator(), "all")) == "SubsetPodLocator(PlainLocator(), empty_hint='all')"
    assert repr(SubsetPodLocator(PlainLocator())) == "SubsetPodLocator(PlainLocator(), empty_hint='none')"


hosts = st.sampled_from(["10.0.0.1", "10.0.0.2", "::1", "fd00::a", "node-1", "NODE-1"])
ports = st.sampled_from([80, 81])


def spell(draw: st.DrawFn, host: str) -> str:
    """Write an address as a gateway might."""
    if ":" not in host:
        return draw(st.sampled_from([host, host.upper()]))
    address = ipaddress.IPv6Address(host)
    return draw(st.sampled_from([str(address), address.exploded, address.exploded.upper()]))


@st.composite
def members(draw: st.DrawFn) -> tuple[str, str, int | None]:
    host = draw(hosts)
    port = draw(st.none() | ports)
    text = spell(draw, host)
    if ":" in text and (port is not None or draw(st.booleans())):
        text = f"[{text}]"
    return (text if port is None else f"{text}:{port}"), host.lower(), port


@st.composite
def pools(draw: st.DrawFn) -> list[Pod]:
    found = draw(st.lists(st.tuples(hosts, ports), max_size=8))
    return [Pod(f"p{i}", spell(draw, host), port) for i, (host, port) in enumerate(found)]


def plain_host(pod: Pod) -> str:
    return str(ipaddress.IPv6Address(pod.address)) if ":" in pod.address else pod.address.lower()


@given(pool=pools(), chosen=st.lists(members()), other=st.lists(members()))
def test_selections_equal_a_naive_matcher(
    pool: list[Pod],
    chosen: list[tuple[str, str, int | None]],
    other: list[tuple[str, str, int | None]],
) -> None:
    """Whatever the members and their spelling: the pods are those that a scan of all finds, and keys are selections."""
    locator = SubsetPodLocator(StaticPodLocator(pool))
    expected = tuple(
        pod for pod in pool if any(plain_host(pod) == host and port in {None, pod.port} for _text, host, port in chosen)
    )
    texts = hint([text for text, _host, _port in chosen])
    assert locator.locate(texts) == expected
    assert (key_of(locator, texts) == key_of(locator, hint([text for text, _host, _port in other]))) == (
        {(host, port) for _text, host, port in chosen} == {(host, port) for _text, host, port in other}
    )


values = st.recursive(
    st.none() | st.integers() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(value=values)
def test_any_value_has_a_key_and_an_answer(value: object) -> None:
    """No value makes the locator raise; only an absent hint shares the lane of an absent hint."""
    locator = SubsetPodLocator(StaticPodLocator(PODS))
    key = key_of(locator, hint(value))
    assert hash(key) == hash(key_of(locator, hint(value)))
    assert key != key_of(locator, {})
    assert set(locator.locate(hint(value))) <= set(PODS)
