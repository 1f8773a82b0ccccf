"""Start and end: in this process, and as a process of its own."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

import fake_vllm
from fake_vllm import FakeVllm, FakeVllmSettings

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def process(*options):
    arguments = ["-m", "fake_vllm", "--port", "0", "--ttft", "0", "--tpot", "0", "--follow-stdin", *options]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    environment = os.environ | {"PYTHONPATH": str(Path(fake_vllm.__file__).parents[1])}
    child = await asyncio.create_subprocess_exec(sys.executable, *arguments, **pipes, env=environment)
    try:
        async with asyncio.timeout(20):
            yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.communicate()


async def line(child):
    return json.loads(await child.stdout.readline())


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


async def test_a_process_serves_until_sigterm_and_says_what_it_counted():
    async with process("--model", "m", "--slots", "2") as child:
        first = await line(child)
        assert first["event"] == "listening"
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{first['port']}") as client:
            asked = {"prompt": "hello", "model": "m", "max_tokens": 2}
            await asyncio.gather(*(client.post("/v1/completions", json=asked) for _ in range(5)))
        child.terminate()
        last = await line(child)
        assert await child.wait() == 0
    assert (last["event"], last["served"], last["refused"]) == ("stopped", 5, 0)
    assert last["most_running"] <= 2


async def test_sigterm_lets_those_who_are_here_finish_and_refuses_the_rest():
    async with process("--slots", "1", "--ttft", "0.3") as child:
        base_url = f"http://127.0.0.1:{(await line(child))['port']}"
        async with httpx.AsyncClient(base_url=base_url) as client, httpx.AsyncClient(base_url=base_url) as other:
            await other.get("/health")  # its connection stays open
            running = asyncio.create_task(client.post("/v1/completions", json={"prompt": "hello"}))
            waiting = asyncio.create_task(client.post("/v1/completions", json={"prompt": "hello"}))
            while (
                'num_requests_waiting{engine="0",model_name="fake-model"} 1.0' not in (await other.get("/metrics")).text
            ):
                pass
            child.send_signal(signal.SIGTERM)
            while (await other.get("/health")).status_code == 200:
                pass
            refused = await other.post("/v1/completions", json={"prompt": "hello"})
            assert refused.status_code == 503
            assert [(await each).status_code for each in (running, waiting)] == [200, 200]
        last = await line(child)
        assert await child.wait() == 0
    assert (last["served"], last["refused"], last["most_waiting"]) == (2, 1, 1)


async def test_grace_ends():
    async with process("--grace", "0.1") as child:
        base_url = f"http://127.0.0.1:{(await line(child))['port']}"
        async with httpx.AsyncClient(base_url=base_url) as client:
            await client.post("/faults", json={"kind": "hang"})
            async with client.stream("POST", "/v1/completions", json={"prompt": "hello", "stream": True}) as response:
                child.terminate()
                with pytest.raises(httpx.TransportError):
                    await response.aread()
        last = await line(child)
        assert await child.wait() == 0
    assert (last["served"], last["aborted"]) == (0, 1)


async def test_a_second_signal_ends_the_grace():
    async with process("--grace", "1000") as child:
        port = (await line(child))["port"]
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            await client.post("/faults", json={"kind": "hang"})
            async with client.stream("POST", "/v1/completions", json={"prompt": "hello", "stream": True}):
                child.terminate()
                while await answers(port):
                    pass
                child.send_signal(signal.SIGINT)
                assert (await line(child))["aborted"] == 1
                assert await child.wait() == 0


async def test_the_port_opens_late_and_sigterm_does_not_wait_for_it():
    port = free_port()
    async with process("--startup-delay", "0.5", "--port", str(port)) as child:
        start = asyncio.get_running_loop().time()
        assert not await answers(port)
        assert await line(child) == {"event": "listening", "port": port}
        assert asyncio.get_running_loop().time() - start >= 0.5
        assert await answers(port)
    async with process("--startup-delay", "1000") as child:
        while not (await asyncio.to_thread(has_handler, child.pid)):
            pass
        child.terminate()
        assert (await line(child))["event"] == "stopped"
        assert await child.wait() == 0


async def answers(port):
    async with httpx.AsyncClient() as client:
        try:
            return (await client.get(f"http://127.0.0.1:{port}/health")).status_code == 200
        except httpx.ConnectError:
            return False


def has_handler(pid):
    """Whether SIGTERM would be caught by now."""
    with open(f"/proc/{pid}/status") as status:
        caught = next(row for row in status if row.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


async def test_it_ends_when_stdin_closes():
    async with process() as child:
        await line(child)
        child.stdin.write(b"anything\n")
        await child.stdin.drain()
        child.stdin.close()
        assert (await line(child))["event"] == "stopped"
        assert await child.wait() == 0


async def test_it_ends_quietly_when_nobody_listens():
    async with process() as child:
        await line(child)
        child._transport.get_pipe_transport(1).close()
        child.terminate()
        assert await child.wait() == 0
        assert await child.stderr.read() == b""


async def test_a_taken_port_is_said():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with process("--port", str(port)) as child:
            assert await child.wait() == 1
            said = (await child.stderr.read()).decode()
    assert said == f"fake_vllm: cannot listen on 127.0.0.1:{port}: Address already in use\n"


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--slots", "0", "slots must be 1 or more, not 0"),
        ("--port", "70000", "port must be in 0..65535, not 70000"),
        ("--ttft", "nan", "ttft must be 0 or more, not nan"),
        ("--ttft", "inf", "ttft must be 0 or more, not inf"),
        ("--jitter", "2", "jitter must be in 0..1, not 2.0"),
    ],
)
async def test_a_bad_option_is_told_why(option, value, says):
    async with process(option, value) as child:
        assert await child.wait() == 2
        assert says in (await child.stderr.read()).decode()


def test_settings_have_their_types():
    with pytest.raises(TypeError, match=r"slots must be an int, not 1\.5"):
        FakeVllmSettings(slots=1.5)


async def test_in_process_the_delay_passes_before_it_is_entered_and_can_be_cancelled(eventually):
    server = FakeVllm(FakeVllmSettings(port=0, startup_delay=1_000.0))
    entering = asyncio.create_task(server.__aenter__())
    await eventually(lambda: server.port)
    assert not server.is_listening
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    with socket.create_server(("127.0.0.1", server.port)):
        pass


async def test_leaving_cuts_what_runs(serve, eventually):
    async with httpx.AsyncClient() as client:
        async with serve(ttft=1_000.0) as (server, _):
            cut = asyncio.create_task(client.post(f"{server.url}/v1/completions", json={"prompt": "hello"}))
            await eventually(lambda: server.counts()["running"] == 1)
        with pytest.raises(httpx.TransportError):
            await cut
    assert server.counts()["aborted"] == 1


async def test_draining_a_server_that_never_started_does_nothing():
    await FakeVllm().drain()


async def test_ipv6(serve):
    async with serve(host="::1") as (server, client):
        assert server.address == f"[::1]:{server.port}"
        assert (await client.get("/health")).status_code == 200
