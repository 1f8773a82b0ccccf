"""What the fake server can do beyond the real one: faults, a look behind, and the test's own hand."""

import asyncio
import json
import ssl
import time

import aiohttp
import attrs
import pytest

from examples.stage import wait_until
from examples.stage.kubernetes import FakeApiServer, StatusError

pytestmark = pytest.mark.anyio

PODS = "/api/v1/namespaces/default/pods"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
WATCH = {"watch": "1"}


@pytest.fixture
async def fake():
    async with FakeApiServer() as server:
        yield server


@pytest.fixture
async def client(fake):
    async with fake.session() as session:
        yield session


def pod(name, **status):
    return {"metadata": {"name": name}, "spec": {"nodeName": "n"}, "status": status}


async def _lines(response, count):
    async with asyncio.timeout(10):
        return [json.loads(await response.content.readline()) for _ in range(count)]


# The test's own hand


async def test_the_tests_hand_writes_status_with_the_rest(fake):
    made = await fake.create(PODS, pod("a", podIP="127.0.0.1"))
    assert made["status"] == {"podIP": "127.0.0.1"}
    assert made["kind"] == "Pod"
    changed = await fake.update(f"{PODS}/a", pod("a", podIP="127.0.0.2"))
    assert changed["status"] == {"podIP": "127.0.0.2"}
    assert await fake.get(f"{PODS}/a") == changed
    await fake.delete(f"{PODS}/a")
    with pytest.raises(StatusError) as refused:
        await fake.get(f"{PODS}/a")
    assert refused.value.code == 404


async def test_the_tests_hand_is_refused_as_others_are(fake):
    first = await fake.create(PODS, pod("a"))
    with pytest.raises(StatusError, match="already exists"):
        await fake.create(PODS, pod("a"))
    await fake.update(f"{PODS}/a", pod("a", phase="Running"))
    with pytest.raises(StatusError, match="has been modified") as refused:
        await fake.update(f"{PODS}/a", first)
    assert refused.value.body["reason"] == "Conflict"
    with pytest.raises(StatusError) as refused:
        await fake.create("/apis/none.io/v1/namespaces/x/nones", {"metadata": {"name": "a"}})
    assert refused.value.code == 404


async def test_what_is_handed_out_and_in_is_a_copy(fake):
    given = pod("a", phase="Running")
    made = await fake.create(PODS, given)
    given["status"]["phase"] = made["status"]["phase"] = "Changed"
    assert (await fake.get(f"{PODS}/a"))["status"] == {"phase": "Running"}


async def test_pods_are_gone_at_once_unless_grace_is_wished(fake):
    await fake.create(PODS, pod("a"))
    await fake.delete(f"{PODS}/a")
    async with FakeApiServer(graceful_pods=True) as graceful:
        await graceful.create(PODS, pod("a"))
        await graceful.delete(f"{PODS}/a", grace=7)
        assert (await graceful.get(f"{PODS}/a"))["metadata"]["deletionGracePeriodSeconds"] == 7
        await graceful.delete(f"{PODS}/a", grace=0)
        for name, phase in (("b", "Succeeded"), ("c", "Failed")):
            await graceful.create(PODS, pod(name, phase=phase))
            await graceful.delete(f"{PODS}/{name}")
        async with graceful.session() as session, session.get(PODS) as response:
            assert (await response.json())["items"] == []


async def test_further_kinds_are_served_when_asked(fake, client):
    fake.serve("example.com/v1", "gears", "Gear", namespaced=False)
    fake.serve("example.com/v2", "gears", "Gear", scale=True)
    await fake.create("/apis/example.com/v1/gears", {"kind": "Gear", "metadata": {"name": "a"}})
    fake.serve("example.com/v1", "gears", "Gear", namespaced=False)
    assert (await fake.get("/apis/example.com/v1/gears/a"))["apiVersion"] == "example.com/v1"
    async with client.get("/apis/example.com/v1/gears/a/scale") as response:
        assert response.status == 404
    async with client.get("/apis/example.com") as response:
        assert [one["version"] for one in (await response.json())["versions"]] == ["v1", "v2"]


async def test_ten_thousand_pods_are_made_and_listed_in_a_moment(fake, client):
    started = time.process_time()
    for number in range(10_000):
        await fake.create(PODS, pod(f"p{number:05}", podIP="127.0.0.1"))
    async with client.get(PODS) as response:
        assert len((await response.json())["items"]) == 10_000
    assert time.process_time() - started < 10  # 1 s on an idle machine


async def test_nothing_is_done_dry(client):
    async with client.post(CONFIGMAPS, params={"dryRun": "All"}, json={"metadata": {"name": "a"}}) as response:
        assert response.status == 400


# Watches


async def test_an_event_comes_at_once(fake, client):
    async with client.get(PODS, params=WATCH) as response:
        took = []
        for number in range(50):
            started = time.perf_counter()
            await fake.create(PODS, pod(f"p{number}"))
            await _lines(response, 1)
            took.append(time.perf_counter() - started)
    assert sorted(took)[25] < 0.05  # 0.5 ms on an idle machine


async def test_bookmarks_come_as_often_as_wished():
    async with FakeApiServer(bookmark_period=0.01) as fake, fake.session() as session:
        await fake.create(CONFIGMAPS, {"metadata": {"name": "a"}})
        query = WATCH | {"resourceVersion": "0", "allowWatchBookmarks": "true", "timeoutSeconds": "100"}
        async with session.get(PODS, params=query) as response:
            first, second = await _lines(response, 2)
            assert "annotations" in first["object"]["metadata"]
            assert "annotations" not in second["object"]["metadata"]
            await fake.create(CONFIGMAPS, {"metadata": {"name": "b"}})
            async with asyncio.timeout(10):
                while (await _lines(response, 1))[0]["object"]["metadata"]["resourceVersion"] != str(fake.version):
                    pass


async def test_the_last_bookmark_comes_before_the_end_and_between_regular_ones():
    async with FakeApiServer(bookmark_period=0.4) as fake, fake.session() as session:
        query = WATCH | {"resourceVersion": "1", "allowWatchBookmarks": "true", "timeoutSeconds": "3"}
        await fake.create(CONFIGMAPS, {"metadata": {"name": "a"}})
        await fake.create(CONFIGMAPS, {"metadata": {"name": "b"}})
        async with session.get(PODS, params=query) as response:
            told = (await response.text()).splitlines()
        assert len(told) == 3  # after 0.4 s and 0.8 s, and 2 s before the end


async def test_a_watch_from_ahead_tells_what_comes_after_it(fake, client):
    async with client.get(PODS, params=WATCH | {"resourceVersion": str(fake.version + 1)}) as response:
        for name in ("early", "late"):
            await fake.create(PODS, pod(name))
        assert (await _lines(response, 1))[0]["object"]["metadata"]["name"] == "late"


async def test_the_log_is_bounded():
    async with FakeApiServer(log_size=3) as fake, fake.session() as session:
        for name in "abcd":
            await fake.create(CONFIGMAPS, {"metadata": {"name": name}})
        async with session.get(CONFIGMAPS, params=WATCH | {"resourceVersion": "1"}) as response:
            assert [event["object"]["metadata"]["name"] for event in await _lines(response, 3)] == ["b", "c", "d"]
        await fake.create(CONFIGMAPS, {"metadata": {"name": "e"}})
        async with session.get(CONFIGMAPS, params=WATCH | {"resourceVersion": "1"}) as response:
            event = json.loads(await response.text())
        assert (event["type"], event["object"]["code"]) == ("ERROR", 410)


async def test_a_watch_far_behind_ends():
    async with (
        FakeApiServer(backlog=3) as fake,
        fake.session() as session,
        session.get(PODS, params=WATCH) as response,
    ):
        for number in range(4):
            await fake.create(PODS, pod(f"p{number}"))
        assert len((await response.text()).splitlines()) == 3


async def test_a_watch_that_nobody_reads_any_more_ends(fake, client):
    async with client.get(PODS, params=WATCH):
        assert fake.watches == 1
    await wait_until(lambda: fake.watches == 0, 10, "the watch is over")


# Faults


async def test_dropped_connections_are_broken_and_new_ones_are_welcome(fake, client):
    async with client.get(PODS, params=WATCH) as response:
        fake.drop_connections()
        with pytest.raises(aiohttp.ClientError):
            await response.content.read()
    async with client.get(PODS) as response:
        assert response.status == 200


async def test_a_stopped_server_comes_back_with_its_objects(fake, client):
    await fake.create(PODS, pod("a"))
    url = fake.url
    async with client.get(PODS, params=WATCH) as response:
        await _lines(response, 1)
        await fake.stop()
        with pytest.raises(aiohttp.ClientError):
            await response.content.read()
    with pytest.raises(aiohttp.ClientConnectorError):
        await client.get(PODS)
    fake.drop_connections()
    await fake.stop()
    await fake.start()
    assert fake.url == url
    async with client.get(f"{PODS}/a") as response:
        assert response.status == 200


async def test_a_pausing_server_hears_and_says_nothing(fake, client):
    async with client.get(PODS, params=WATCH) as response:
        fake.pause()
        await fake.create(PODS, pod("a"))
        event = asyncio.create_task(_lines(response, 1))
        request = asyncio.create_task(client.get(PODS))
        done, _ = await asyncio.wait({event, request}, timeout=0.2)
        assert not done
        fake.resume()
        assert (await event)[0]["type"] == "ADDED"
        async with await request as answer:
            assert answer.status == 200


async def test_the_next_requests_fail_as_told(fake, client):
    fake.fail_next(503, 2, retry_after=3)
    for _ in range(2):
        async with client.get(PODS) as response:
            body = await response.json()
            assert (response.status, response.headers["Retry-After"]) == (503, "3")
            assert (body["kind"], body["code"], body["reason"]) == ("Status", 503, "ServiceUnavailable")
    async with client.get(PODS) as response:
        assert response.status == 200
        assert "Retry-After" not in response.headers


async def test_only_the_requests_that_are_meant_fail(fake, client):
    fake.fail_next(409, method="PUT", path="/configmaps")
    fake.fail_next(403, 10)
    async with client.put(f"{CONFIGMAPS}/a", json={"metadata": {"name": "a"}}) as response:
        assert response.status == 409
    async with client.get(PODS) as response:
        assert (response.status, (await response.json())["reason"]) == (403, "Forbidden")
    fake.pause()
    fake.heal()
    async with client.get(PODS) as response:
        assert response.status == 200


async def test_requests_are_remembered(fake, client):
    async with client.get(PODS, params={"limit": "5"}):
        pass
    asked = fake.requests[-1]
    assert attrs.asdict(asked) == {"method": "GET", "path": PODS, "query": {"limit": "5"}, "user": ""}


# Who may ask


async def test_tokens_may_change_while_it_runs():
    async with FakeApiServer(tokens={"one": "first"}) as fake, fake.session() as session:
        async with session.get(PODS) as response:
            assert (response.status, fake.requests[-1].user) == (200, "first")
        fake.tokens.clear()
        async with session.get(PODS) as response:
            assert response.status == 401
        fake.tokens["two"] = "second"
        for scheme, status in (("Bearer", 200), ("bearer", 200), ("Basic", 401)):
            async with session.get(PODS, headers={"Authorization": f"{scheme} two"}) as response:
                assert response.status == status


async def test_without_tokens_everyone_may_ask(fake):
    assert fake.tokens is None
    assert fake.certificates is None


async def test_a_kubeconfig_leads_to_the_server(tmp_path, fake):
    path = tmp_path / "config"
    fake.write_kubeconfig(path, namespace="other")
    written = json.loads(path.read_text())
    assert written["clusters"][0]["cluster"] == {"server": fake.url}
    assert written["users"][0]["user"] == {}
    assert written["contexts"][0]["context"]["namespace"] == "other"
    assert path.stat().st_mode & 0o077 == 0
    fake.write_kubeconfig(path, port=1)
    assert json.loads(path.read_text())["clusters"][0]["cluster"]["server"] == "http://127.0.0.1:1"
    with pytest.raises(ValueError, match="without TLS"):
        fake.write_kubeconfig(path, credential="certificate")


async def test_a_kubeconfig_has_what_tls_needs(tmp_path):
    path = tmp_path / "config"
    async with FakeApiServer(tls=True, tokens={"secret": "user"}) as fake:
        fake.write_kubeconfig(path)
        assert fake.url.startswith("https://")
        assert json.loads(path.read_text())["users"][0]["user"] == {"token": "secret"}
        fake.write_kubeconfig(path, credential="certificate")
        user = json.loads(path.read_text())["users"][0]["user"]
        assert user.keys() == {"client-certificate-data", "client-key-data"}


async def test_a_certificate_is_a_credential(tmp_path):
    async with FakeApiServer(tls=True, tokens={"secret": "user"}) as fake:
        assert fake.certificates is not None
        context = fake.certificates.for_client()
        (tmp_path / "cert").write_bytes(fake.certificates.client_certificate)
        (tmp_path / "key").write_bytes(fake.certificates.client_key)
        async with aiohttp.ClientSession(fake.url) as session:
            async with session.get(PODS, ssl=context) as response:
                assert response.status == 401
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await session.get(PODS, ssl=ssl.create_default_context())
        context = fake.certificates.for_client()
        context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
        async with aiohttp.ClientSession(fake.url) as session, session.get(PODS, ssl=context) as response:
            assert (response.status, fake.requests[-1].user) == (200, "client")
