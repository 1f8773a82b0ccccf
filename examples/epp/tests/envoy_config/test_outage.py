"""Who is dead, hangs or drains: clients hear it soon, and traffic flows again soon."""

import asyncio
import collections
import signal
import socket
import time

import grpc
import httpx
import pytest
import trustme

from fake_vllm import Fault

pytestmark = pytest.mark.anyio


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


async def seconds_of(awaitable):
    start = time.monotonic()
    return await awaitable, time.monotonic() - start


async def test_without_a_picker_clients_get_503_at_once(envoy):
    async with envoy(epp_port=free_port()) as world:
        for _ in range(5):
            response, seconds = await seconds_of(world.ask())
            assert (response.status_code, seconds < 0.5) == (503, True)
        assert world.pod.counts()["served"] == 0


async def test_a_picker_killed_while_it_holds_is_told_within_a_second_and_one_that_comes_back_serves_within_two(
    envoy, picker_process, eventually
):
    port = free_port()
    async with envoy(epp_port=port) as world:
        async with picker_process(port, world.pod.address, 1_000.0) as killed:
            await flowing(world, status=None)
            asking = [asyncio.create_task(world.ask()) for _ in range(90)]
            while await world.stat("http.clients.downstream_rq_active") < 90:
                await asyncio.sleep(0.01)
            killed.kill()
            answers, seconds = await seconds_of(asyncio.gather(*asking))
            assert {answer.status_code for answer in answers} == {503}
            assert seconds < 1.0
        assert (await world.ask()).status_code == 503
        async with picker_process(port, world.pod.address):
            assert await flowing(world, status=200) < 2.0


async def test_of_two_pickers_the_one_in_good_health_is_asked_and_the_other_takes_over(envoy, new_picker, eventually):
    leader, follower = new_picker(), new_picker()
    for each in (leader, follower):
        await each.start()
    await follower.say(is_serving=False)
    both = tuple(f"127.0.0.1:{each.port}" for each in (follower, leader))
    async with envoy(epp_endpoints=both) as world:
        leader.pod = follower.pod = world.pod.address
        await flowing(world, status=200)
        for _ in range(10):
            assert (await world.ask()).status_code == 200
        assert follower.streams == 0
        await leader.stop()
        refused = await world.ask()
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        await follower.say(is_serving=True)
        assert await flowing(world, status=200) < 2.0
    await follower.stop()
    await eventually(lambda: follower.ended == follower.streams)


async def test_what_envoy_refuses_by_itself_says_when_to_come_again(envoy, picker_process):
    """Dead while it holds, and dead before; a pod's own answer stays as it is."""
    port = free_port()
    async with envoy(epp_port=port) as world:
        async with picker_process(port, world.pod.address, 1_000.0) as killed:
            await flowing(world, status=None)
            asking = asyncio.create_task(world.ask())
            while await world.stat("http.clients.downstream_rq_active") < 1:
                await asyncio.sleep(0.01)
            killed.kill()
            for answer in (await asking, await world.ask()):
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        async with picker_process(port, world.pod.address):
            await flowing(world, status=200)
            world.pod.fail(Fault("error", status=503))
            assert "retry-after" not in (await world.ask()).headers


async def flowing(world, status):
    """Wait until the picker is asked, or has let one request go; return how long that took."""
    start = time.monotonic()
    while True:
        if status is None:
            if await world.stat("cluster.epp.membership_healthy"):
                break
        elif (await world.ask()).status_code == status:
            break
        await asyncio.sleep(0.02)
    return time.monotonic() - start


async def test_a_picker_that_drains_gets_nothing_new_and_keeps_what_it_holds(envoy, eventually):
    async with envoy() as world:
        world.picker.is_open.clear()
        held = asyncio.create_task(world.ask())
        await eventually(lambda: world.picker.held == 1)
        await world.picker.say(is_serving=False)
        while await world.stat("cluster.epp.membership_healthy"):
            await asyncio.sleep(0.02)
        response, seconds = await seconds_of(world.ask())
        assert (response.status_code, seconds < 0.5, world.picker.streams) == (503, True, 1)
        world.picker.is_open.set()
        assert (await held).status_code == 200
        await world.picker.say(is_serving=True)
        assert await flowing(world, status=200) < 2.0


async def test_a_picker_that_stalls_for_a_moment_loses_nobody(envoy, picker_process):
    port = free_port()
    async with envoy(epp_port=port) as world, picker_process(port, world.pod.address) as stalled:
        await flowing(world, status=200)
        stalled.send_signal(signal.SIGSTOP)
        asking = [asyncio.create_task(world.ask()) for _ in range(20)]
        await asyncio.sleep(2.5)  # longer than two intervals of the health check: this is the stall itself
        stalled.send_signal(signal.SIGCONT)
        assert {(await each).status_code for each in asking} == {200}
        assert (await world.ask()).status_code == 200


async def test_a_pod_that_refuses_gives_503_at_once_and_is_not_tried_again(envoy):
    async with envoy() as world:
        world.picker.pod = f"127.0.0.1:{free_port()}"
        response, seconds = await seconds_of(world.ask())
        assert (response.status_code, seconds < 0.5) == (503, True)
        assert await world.stat("cluster.pods.upstream_cx_connect_fail") == 1
        assert world.picker.streams == 1


async def test_a_pod_that_does_not_answer_gives_503_after_the_connect_timeout(envoy):
    # A listener whose backlog is full: the kernel drops what else would connect.
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(silent.getsockname())
        async with envoy(connect_timeout=0.7) as world:
            world.picker.pod = f"127.0.0.1:{silent.getsockname()[1]}"
            response, seconds = await seconds_of(world.ask())
        for each in waiting:
            each.close()
    assert (response.status_code, 0.6 < seconds < 2.0) == (503, True)


async def test_a_pod_that_hangs_gives_504_but_a_hold_of_the_same_length_does_not(envoy, eventually):
    async with envoy(longest_silence=0.6) as world:
        world.picker.seconds = 1.5
        assert (await world.ask()).status_code == 200
        world.picker.seconds = 0.0
        world.pod.fail(Fault("hang"))
        response, seconds = await seconds_of(world.ask())
        assert (response.status_code, seconds < 1.5) == (504, True)
        await eventually(lambda: world.pod.counts()["running"] == 0)
        await eventually(lambda: world.picker.ended == 2)


async def test_a_pods_error_is_passed_on_and_not_tried_again(envoy):
    async with envoy() as world:
        world.pod.fail(Fault("error", status=503))
        response = await world.ask()
        assert (response.status_code, "fault" in response.text) == (503, True)
        assert await world.stat("cluster.pods.upstream_rq_total") == 1


async def test_a_connection_to_a_pod_is_closed_before_the_pod_would(envoy):
    async with envoy(pod_keep_alive=0.3) as world:
        await world.ask()
        while await world.stat("cluster.pods.upstream_cx_active"):
            await asyncio.sleep(0.02)
        assert (await world.ask()).status_code == 200


@pytest.mark.parametrize(("name", "status"), [("epp.example", 200), ("other.example", 503)])
async def test_a_picker_behind_tls_must_have_the_name(envoy, new_picker, tmp_path, name, status):
    authority, file = trustme.CA(), tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(file)
    certificate = authority.issue_cert("epp.example")
    pair = (certificate.private_key_pem.bytes(), b"".join(each.bytes() for each in certificate.cert_chain_pems))
    picker = new_picker()
    await picker.start(credentials=grpc.ssl_server_credentials([pair]))
    async with envoy(epp_port=picker.port, epp_tls_ca=str(file), epp_server_name=name) as world:
        picker.pod = world.pod.address
        if status == 200:
            await flowing(world, status=200)
        assert (await world.ask()).status_code == status
    assert (picker.streams > 0) == (status == 200)
    await picker.stop()


async def test_a_picker_is_found_by_its_name(envoy, new_picker):
    async with envoy(epp_host="localhost") as world:
        assert await flowing(world, status=200) < 5.0


async def test_a_burst_of_hang_ups_takes_nobody_with_it(envoy, eventually):
    async with envoy() as world:
        world.picker.is_open.clear()
        staying = [asyncio.create_task(world.ask()) for _ in range(20)]
        async with httpx.AsyncClient(
            base_url=world.url, limits=httpx.Limits(max_connections=300), timeout=30
        ) as client:
            leaving = [asyncio.create_task(world.ask(client=client)) for _ in range(300)]
            await eventually(lambda: world.picker.held == 320)
            for each in leaving:
                each.cancel()
            await eventually(lambda: world.picker.held == 20)
        world.picker.is_open.set()
        assert collections.Counter([(await each).status_code for each in staying]) == {200: 20}
