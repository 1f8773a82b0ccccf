"""The pool that everybody reads."""

import asyncio

import attrs
import pytest

from flowgate import Pod, PodMetrics
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
