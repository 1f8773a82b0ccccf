"""pytest finds the fixtures, strangers can use them, and those who do not ask for them are left alone."""

import pytest

from flowgate import FlowControlConfig, FlowController, QueueOutcome, Request
from flowgate.testing import Callers, PodPool, Recorder, VirtualClock, assert_idle

pytest_plugins = ["pytester"]

SIX_LINES = """
    import pytest
    from flowgate import Request
    from flowgate.testing import Callers

    @pytest.mark.anyio
    async def test_holds_until_a_pod_appears(flow_controller, pods):
        async with flow_controller, Callers(flow_controller) as callers:
            caller = await callers.start(Request("tenant-a"))
            assert caller.is_waiting
            pod = pods.add()
            assert (await caller.admitted()).pod == pod
"""
BOTH_BACKENDS = """
    import anyio, pytest, time
    from flowgate import FlowControlError, Request
    from flowgate.waiters import in_trio

    @pytest.fixture(scope="module")
    def anyio_backend():
        return {backend!r}

    async def test_a_minute_of_waiting_costs_nothing(flow_controller, pods, virtual_clock, slow_pod):
        began = time.monotonic()
        assert ("trio" in {backend!r}) == in_trio()
        async with flow_controller, anyio.create_task_group() as tasks:
            tasks.start_soon(slow_pod)
            with await flow_controller.enqueue_and_wait(Request("tenant-a")) as ticket:
                assert ticket.queue_wait == 59.5
        assert time.monotonic() - began < 5

    @pytest.fixture
    async def slow_pod(pods):
        async def add():
            await anyio.sleep(59.5)
            pods.add()
        return add
"""


@pytest.mark.anyio
async def test_holds_until_a_pod_appears(flow_controller: FlowController, pods: PodPool) -> None:
    async with flow_controller, Callers(flow_controller) as callers:
        caller = await callers.start(Request("tenant-a"))
        assert caller.is_waiting
        pod = pods.add()
        assert (await caller.admitted()).pod == pod


async def test_virtual_clock_alone_makes_an_async_test_run(
    flow_controller: FlowController, virtual_clock: VirtualClock
) -> None:
    """No mark is needed: anyio runs whatever asks for its backend."""
    async with flow_controller, Callers(flow_controller) as callers:
        caller = await callers.start(Request("tenant-a", ttl=30))
        await virtual_clock.advance(29.9)
        assert caller.is_waiting
        await virtual_clock.advance(0.1)
        assert (caller.outcome, caller.ended_at) == (QueueOutcome.EVICTED_NO_PODS, 30.0)
        assert_idle(flow_controller)


def test_the_configuration_is_the_default_until_it_is_overridden(flow_control_config: FlowControlConfig) -> None:
    assert flow_control_config == FlowControlConfig()


@pytest.mark.anyio
async def test_each_pod_has_one_slot_until_that_is_overridden(
    flow_controller: FlowController, flow_events: Recorder, pods: PodPool
) -> None:
    pods.scale(2)
    async with flow_controller, Callers(flow_controller) as callers:
        asked = [await callers.start(Request("tenant-a")) for _ in range(3)]
        assert [caller.is_waiting for caller in asked] == [False, False, True]
        assert flow_events.outcomes() == [QueueOutcome.DISPATCHED] * 2


def test_a_stranger_tests_in_six_lines(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SIX_LINES)
    result = pytester.runpytest_subprocess("-W", "error", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=2)


@pytest.mark.parametrize("backend", ["asyncio", "trio", ("asyncio", {"debug": True}), ("trio", {})])
def test_virtual_time_keeps_the_project_s_own_backend(pytester: pytest.Pytester, backend: object) -> None:
    """It needs no trio where a project has none, and async fixtures run on the same loop."""
    pytester.makepyfile(BOTH_BACKENDS.format(backend=backend))
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_virtual_time_that_comes_too_late_says_so(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import anyio, pytest

        @pytest.fixture
        async def early(anyio_backend):
            await anyio.lowlevel.checkpoint()

        async def test_late(early, virtual_clock):
            await anyio.lowlevel.checkpoint()
    """)
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(
        ["*virtual_clock comes too late: an async fixture started the event loop in real time*"]
    )


def test_a_whole_folder_can_run_in_virtual_time(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("""
        import pytest
        from flowgate.testing import virtual_backend

        @pytest.fixture(params=["asyncio", "trio"])
        def anyio_backend(request):
            return virtual_backend(request.param)
    """)
    pytester.makepyfile("""
        import anyio, pytest

        @pytest.fixture
        async def early(anyio_backend):
            await anyio.sleep(100)

        @pytest.mark.anyio
        async def test_it(early, virtual_clock):
            assert virtual_clock.time() == 100
    """)
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)


def test_pytest_shows_each_fixture_with_its_first_line(pytester: pytest.Pytester) -> None:
    shown = pytester.runpytest_subprocess("--fixtures").stdout
    shown.fnmatch_lines_random(
        [
            "pods -- *pytest_flowgate.py*",
            "    The pods of `flow_controller`, none to begin with: *",
            "flow_control_config -- *",
            "saturation_detector -- *",
            "flow_events -- *",
            "    What happens at `flow_controller`, kept in order: *",
            "flow_controller -- *",
            "    A FlowController over `pods`, not entered: *",
            "virtual_clock -- *",
            "    Virtual time: *",
        ]
    )


def test_a_project_that_does_not_ask_pays_nothing(pytester: pytest.Pytester) -> None:
    """Not even the package is imported, and nothing is warned of."""
    pytester.makepyfile("""
        import sys

        def test_nothing_was_imported(request):
            assert request.config.pluginmanager.has_plugin("flowgate")
            assert not {"flowgate", "flowgate.testing", "hypothesis"} & set(sys.modules)
            assert "flow_controller" not in request.fixturenames
    """)
    pytester.runpytest_subprocess("-W", "error", "-p", "no:hypothesispytest").assert_outcomes(passed=1)


def test_the_plugin_can_be_left_out(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SIX_LINES)
    result = pytester.runpytest_subprocess("-p", "no:flowgate")
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*fixture 'flow_controller' not found*"])


def test_fixtures_can_be_overridden_one_by_one(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import pytest
        from flowgate import FlowControlConfig, QueueOutcome, Request
        from flowgate.saturation import ConcurrencyDetector
        from flowgate.testing import Callers

        @pytest.fixture
        def flow_control_config():
            return FlowControlConfig(max_requests=1)

        @pytest.fixture
        def saturation_detector():
            return ConcurrencyDetector(2)

        @pytest.mark.anyio
        async def test_two_go_one_waits_one_is_refused(flow_controller, pods):
            pods.add()
            async with flow_controller, Callers(flow_controller) as callers:
                asked = [await callers.start(Request("a")) for _ in range(4)]
                assert [caller.is_waiting for caller in asked] == [False, False, True, False]
                assert asked[3].outcome is QueueOutcome.REJECTED_CAPACITY
    """)
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)


def test_a_wrong_policy_fails_with_the_promise_and_the_values(pytester: pytest.Pytester) -> None:
    """Rewritten assertions: the author sees what was compared, without having asked for it."""
    pytester.makepyfile("""
        import pytest
        from flowgate.contracts import ItemComparator
        from flowgate.testing.suites import DispatchPolicySuite, SafeQueueSuite
        from flowgate.queues import ListQueue

        class NobodyGoes:
            name = "nobody-goes"
            comparator = ItemComparator(int, lambda item: item.arrival)
            required_queue_capabilities = frozenset()

            def select_item(self, queue):
                return None

        class Backwards(ListQueue):
            def peek_head(self):
                return self.peek_tail()

        class TestNobodyGoes(DispatchPolicySuite):
            @pytest.fixture
            def policy(self):
                return NobodyGoes()

        class TestBackwards(SafeQueueSuite):
            @pytest.fixture
            def make_queue(self):
                return Backwards
    """)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.stdout.fnmatch_lines_random(
        [
            "E *AssertionError: nobody-goes named no item while 10 wait",
            "E *At index 0 diff: <item 4 score=4.0 byte_size=4> != <item 0 byte_size=0>",
            "FAILED *::TestNobodyGoes::test_serves_every_item_once*",
            "FAILED *::TestBackwards::test_keeps_its_order*",
        ]
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED
