"""The pool that everybody reads."""

import asyncio

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowgate import FlowController, Pod, PodMetrics, Request
from flowgate.saturation import ConcurrencyDetector
from flowgate.testing.suites import LocatorRig, PodLocatorSuite
from flowgate_epp.pods import PodStore

A = Pod("a", "10.0.0.1", 8000)
B = Pod("b", "10.0.0.2", 8000)
C = Pod("c", "fd00::3", 8000)


def metrics(waiting, at=1.0):
    return PodMetrics(waiting=waiting, running=1, kv_cache_usage=0.5, updated_at=at)


class TestStoreAsLocator(PodLocatorSuite):
    """It keeps the promises of every locator."""

    @pytest.fixture
    def make_rig(self):
        def make(pods):
            store = PodStore()
            store.set_pods(pods)
            return LocatorRig(store, store.set_pods)

        return make

    def test_gives_the_newest_metrics_and_labels(self, make_rig):
        """The same pod with new metrics or labels is answered anew; but what has no metrics does not take them away."""
        rig = make_rig([A, B])
        newer = attrs.evolve(A, metrics=metrics(3))
        rig.change([newer, B])
        assert rig.pods()[0] is newer
        rig.change([attrs.evolve(A, labels={"zone": "eu"}), B])
        assert rig.pods()[0].labels == {"zone": "eu"}
        assert rig.pods()[0].metrics is newer.metrics


@pytest.fixture
def store():
    store = PodStore()
    store.set_pods([A, B])
    store.announced = []
    store.subscribe(lambda pods=None: store.announced.append(pods))
    return store


def test_metrics_are_announced_for_their_pod_alone(store):
    """One pod's metrics touch no other's."""
    store.set_metrics(A, metrics(3))
    assert [[pod.metrics.waiting for pod in pods] for pods in store.announced] == [[3]]
    assert store.pods[0] is store.announced[0][0] is store.find(A)
    assert store.pods[1] is B


def test_the_snapshot_is_the_same_until_something_changes(store):
    """Readers who ask often cost nothing."""
    first = store.pods
    assert store.pods is first is store.locate({})
    store.set_metrics(A, metrics(1))
    assert store.pods is not first
    assert store.pods is store.pods
    assert [pod.metrics for pod in first] == [None, None]


def test_pods_that_stay_keep_their_metrics_and_take_new_labels(store):
    """A source tells of identity and labels, the scraper of metrics."""
    store.set_metrics(A, metrics(3))
    store.announced.clear()
    store.set_pods([attrs.evolve(A, labels={"zone": "eu"}), B])
    assert store.find(A).labels == {"zone": "eu"}
    assert store.find(A).metrics.waiting == 3
    assert store.announced == [(A,)]
    store.set_pods([A, B, C])
    assert store.find(A).metrics.waiting == 3
    assert store.find(A).labels == {}
    assert store.announced[1:] == [None]


def test_what_a_source_says_of_metrics_itself_is_taken(store):
    """A source may know them."""
    store.set_metrics(A, metrics(3))
    store.set_pods([attrs.evolve(A, metrics=metrics(4)), B])
    assert store.find(A).metrics.waiting == 4


def test_the_same_pods_again_announce_nothing(store):
    """A source that polls wakes nobody."""
    store.set_metrics(A, metrics(3))
    store.announced.clear()
    before = store.pods
    store.set_pods([Pod("a", "10.0.0.1", 8000), Pod("b", "10.0.0.2", 8000)])
    assert store.pods is before
    assert store.announced == []


def test_another_order_is_a_change(store):
    """Order is the source's."""
    store.set_pods([B, A])
    assert store.pods == (B, A)
    assert store.announced == [None]


def test_metrics_of_a_pod_that_has_gone_are_ignored(store):
    """And one that comes back has none of its old ones."""
    store.set_metrics(A, metrics(3))
    store.set_pods([B])
    store.announced.clear()
    store.set_metrics(A, metrics(4))
    assert (store.pods, store.announced, store.find(A)) == ((B,), [], None)
    store.set_pods([A, B])
    assert store.find(A).metrics is None


def test_it_is_synced_by_the_first_answer_even_an_empty_one():
    """To know that there are no pods is to know them."""

    async def scenario():
        store = PodStore()
        assert not store.is_synced
        waiting = asyncio.create_task(store.synced())
        await asyncio.sleep(0)
        assert not waiting.done()
        store.set_pods([])
        async with asyncio.timeout(5):
            await waiting
        assert store.is_synced
        assert repr(store) == "<PodStore: 0 pods>"

    asyncio.run(scenario())


def test_two_of_one_identity_are_refused_and_change_nothing(store):
    """So is what is no pod."""
    with pytest.raises(ValueError, match=r'but pod "a" at 10\.0\.0\.1:8000 is there twice'):
        store.set_pods([A, Pod("a", "10.0.0.1", 8000)])
    with pytest.raises(TypeError, match="must each be a Pod, not 'a'"):
        store.set_pods(["a"])
    assert store.pods == (A, B)
    assert store.announced == []


@pytest.mark.parametrize(
    ("first", "twin"), [(A, Pod("late", "10.0.0.1", 8000)), (C, Pod("late", "fd00:0::0:3", 8000))], ids=["v4", "v6"]
)
def test_of_two_pods_at_one_endpoint_the_first_is_kept(first, twin, caplog):
    """Envoy could not tell them apart; the log says so once while it lasts, and again when it comes back."""
    store = PodStore()
    for _ in range(3):
        store.set_pods([first, B, twin])
        assert store.pods == (first, B)
    assert [record.getMessage() for record in caplog.records] == [
        f'pod "late" is left out: it is at {twin.endpoint}, as "{first.name}" is, and Envoy could not tell them apart'
    ]
    store.set_pods([B, twin])
    assert store.pods == (B, twin)
    store.set_pods([first, B, twin])
    assert len(caplog.records) == 2


def test_another_port_of_one_address_is_another_pod(store, caplog):
    """Several engines may share a host, which may also be named."""
    pods = [A, attrs.evolve(A, port=8001), Pod("d", "node-4", 8000), Pod("e", "node-4", 8001)]
    store.set_pods(pods)
    assert list(store.pods) == pods
    assert not caplog.records


TWIN = Pod("twin", "10.0.0.1", 8000)
LAST = Pod("last", "10.0.0.1", 8000)


def test_a_change_touches_no_other_pod(store):
    """New ones come last; those that stay keep their metrics; who wants to know hears which came and went."""
    heard = []
    store.subscribe_changes(lambda pods=None, **told: heard.append((pods, told)))
    store.set_metrics(A, metrics(3))
    heard.clear()
    labelled = attrs.evolve(A, labels={"zone": "eu"})
    store.change_pods([C, labelled], [B, Pod("stranger", "10.9.9.9", 1)])
    assert store.pods == (A, C)
    assert store.find(A).labels == {"zone": "eu"}
    assert store.find(A).metrics.waiting == 3
    assert heard == [((A,), {"removed": (B,), "added": (C,)})]
    assert heard[0][0][0] is store.find(A)
    assert store.announced[-1] is None
    assert all(store.selects(store.selection_key({}), pod) for pod in store.pods)


def test_new_labels_alone_are_announced_for_their_pod(store):
    """Nobody has come or gone."""
    store.change_pods([attrs.evolve(A, labels={"zone": "eu"})])
    assert store.announced == [(A,)]


def test_a_change_that_changes_nothing_announces_nothing(store):
    """Sources are told of more than matters."""
    before = store.pods
    store.change_pods([A, Pod("b", "10.0.0.2", 8000)], [C])
    assert store.pods is before
    assert store.announced == []


def test_a_pod_that_left_and_came_back_begins_anew(store):
    """In one change, too: without its metrics, after all others."""
    store.set_metrics(A, metrics(3))
    store.change_pods([A], [A])
    assert store.pods == (B, A)
    assert store.find(A).metrics is None
    store.change_pods([C, attrs.evolve(C, labels={"zone": "eu"})])
    assert store.find(C).labels == {"zone": "eu"}
    assert len(store.pods) == 3


def test_what_is_no_pod_is_refused_and_changes_nothing(store):
    """Among those that come and those that go."""
    for changed, removed in (([C, "x"], [A]), ([C], [A, None])):
        with pytest.raises(TypeError, match="must each be a Pod"):
            store.change_pods(changed, removed)
    assert store.pods == (A, B)
    assert store.announced == []


def test_a_change_is_a_telling_too():
    """A source that begins with one is synced by it."""
    store = PodStore()
    store.change_pods([])
    assert store.is_synced


def test_when_the_first_of_twins_leaves_the_next_gets_in(store, caplog):
    """In the order in which they came, in the very change, and logged only when it is left out."""
    store.change_pods([TWIN, LAST])
    assert store.pods == (A, B)
    assert [record.getMessage() for record in caplog.records] == [
        f'pod "{name}" is left out: it is at 10.0.0.1:8000, as "a" is, and Envoy could not tell them apart'
        for name in ("twin", "last")
    ]
    renamed = attrs.evolve(TWIN, labels={"zone": "eu"})
    store.change_pods([renamed])  # still left out: nothing to say
    assert len(caplog.records) == 2
    heard = []
    store.subscribe_changes(lambda pods=None, **told: heard.append(told))
    store.change_pods([], [A])
    assert store.pods == (B, TWIN)
    assert store.find(TWIN).labels == {"zone": "eu"}
    assert heard == [{"removed": (A,), "added": (TWIN,)}]
    store.change_pods([], [LAST])
    store.change_pods([], [TWIN])
    assert store.pods == (B,)
    store.change_pods([A])
    assert store.pods == (B, A)


def test_twins_that_leave_together_leave_nothing(store):
    """One that got in and left in the same change was never there; one more takes the place."""
    store.change_pods([TWIN, LAST])
    heard = []
    store.subscribe_changes(lambda pods=None, **told: heard.append(told))
    store.change_pods([], [A, TWIN])
    assert store.pods == (B, LAST)
    assert heard == [{"removed": (A,), "added": (LAST,)}]


def test_after_all_pods_were_set_changes_know_the_twins(store):
    """Both ways speak of the same pods."""
    store.set_pods([A, TWIN, B])
    assert store.pods == (A, B)
    store.change_pods([], [A])
    assert store.pods == (B, TWIN)
    store.set_pods([B])
    store.change_pods([LAST])
    assert store.pods == (B, LAST)


STEPS = st.lists(
    st.tuples(
        st.booleans(),
        st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 2), st.sampled_from("xy")), max_size=4),
        st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 2)), max_size=4),
    ),
    max_size=12,
)


@given(STEPS)
def test_any_changes_come_to_what_a_simple_pool_says(steps):
    """At each address the pod that came first; whoever follows what is told knows the pool."""
    store, told, known = PodStore(), {}, {}

    def hear(pods=None, removed=(), added=()):
        if pods is None:
            told.clear()
            told.update({pod: pod.labels for pod in store.pods})
            return
        for pod in removed:
            del told[pod]
        for pod in pods:
            assert pod in told
            told[pod] = pod.labels
        for pod in added:
            assert pod not in told
            told[pod] = pod.labels

    store.subscribe_changes(hear)
    for is_whole, changed, removed in steps:
        pods = [Pod(name, f"10.0.0.{place}", 8000, labels={"is": label}) for name, place, label in changed]
        if is_whole:
            known = {pod: pod for pod in dict.fromkeys(pods)}
            store.set_pods(known.values())
        else:
            gone = [Pod(name, f"10.0.0.{place}", 8000) for name, place in removed]
            for pod in gone:
                known.pop(pod, None)
            known.update({pod: pod for pod in pods})
            store.change_pods(pods, gone)
        assert told == {pod: pod.labels for pod in store.pods}
        assert {pod.address for pod in store.pods} == {pod.address for pod in known}
        assert len({pod.address for pod in store.pods}) == len(store.pods)
        assert all(pod.labels == known[pod].labels for pod in store.pods)


def test_a_pod_that_comes_lets_a_request_go_in_the_next_turn_of_the_loop():
    """Without a timer: the controller's turn, and the caller's."""

    async def scenario():
        store = PodStore()
        store.set_pods([])
        async with FlowController(locator=store, detector=ConcurrencyDetector(1)) as controller:
            waiting = asyncio.create_task(controller.enqueue_and_wait(Request("flow")))
            await asyncio.sleep(0)
            store.change_pods([A])
            await asyncio.sleep(0)  # the controller's turn
            await asyncio.sleep(0)  # the caller's
            assert waiting.done()
            waiting.result().release()

    asyncio.run(scenario())
