import asyncio
import base64
import json
import socket
from contextlib import aclosing
from types import SimpleNamespace

import pytest
import trustme
import yaml

from examples.stage.kubernetes import FakeApiServer
from flowgate_epp.kubernetes import ApiClient, ApiError, ClusterSettings
from flowgate_epp.kubernetes._keepalive import keep_alive

pytestmark = pytest.mark.anyio

MAPS = "/api/v1/namespaces/default/configmaps"
TOKEN = "s3cret-t0ken"  # noqa: S105 - of nobody


def config_map(name):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": "1"}}


def answer(body, status="200 OK", headers="", kind="application/json"):
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def test_objects_are_made_read_replaced_patched_and_deleted(client):
    made = await client.create(MAPS, config_map("a"))
    assert await client.get(f"{MAPS}/a") == made
    replaced = await client.replace(f"{MAPS}/a", {**made, "data": {"value": "2"}})
    assert replaced["data"] == {"value": "2"}
    patched = await client.patch(f"{MAPS}/a", {"data": {"value": None, "more": "3"}})
    assert patched["data"] == {"more": "3"}
    await client.delete(f"{MAPS}/a")
    with pytest.raises(ApiError, match="not found") as caught:
        await client.get(f"{MAPS}/a")
    assert (caught.value.status, caught.value.reason) == (404, "NotFound")


async def test_of_two_who_change_one_version_the_second_is_told_so(client):
    made = await client.create(MAPS, config_map("a"))
    await client.replace(f"{MAPS}/a", {**made, "data": {"value": "2"}})
    stale = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "data": {"value": "3"}}
    for attempt in (client.replace(f"{MAPS}/a", {**made, "data": {}}), client.patch(f"{MAPS}/a", stale)):
        with pytest.raises(ApiError) as caught:
            await attempt
        assert (caught.value.status, caught.value.reason) == (409, "Conflict")
    with pytest.raises(ApiError) as caught:
        await client.create(MAPS, config_map("a"))
    assert (caught.value.status, caught.value.reason) == (409, "AlreadyExists")


async def test_a_watch_yields_what_happens_from_a_version_on(client):
    version = (await client.create(MAPS, config_map("before")))["metadata"]["resourceVersion"]
    await client.create(MAPS, config_map("a"))
    await client.delete(f"{MAPS}/a")
    events = []
    async with aclosing(client.watch(MAPS, {"resourceVersion": version})) as watch:
        async for event in watch:
            if event["object"]["metadata"].get("name") == "a":
                events.append(event["type"])
            if len(events) == 2:
                break
    assert events == ["ADDED", "DELETED"]


async def test_a_watch_lets_the_system_notice_a_host_that_has_gone(client):
    version = (await client.get(MAPS))["metadata"]["resourceVersion"]
    async with client.open_watch(MAPS, {"resourceVersion": version}) as bursts:
        own = bursts.ag_frame.f_locals["response"].connection.transport.get_extra_info("socket")
        assert own.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert own.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 15
        assert own.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000


@pytest.mark.parametrize("own", [None, "closed"])
def test_a_connection_that_ends_as_a_watch_begins_is_left_to_whoever_reads_it(own):
    """For one turn of the loop it still seems to be there: TLS has forgotten its socket, or that is closed."""
    if own is not None:
        own = socket.socket()
        own.close()
    transport = SimpleNamespace(get_extra_info={"socket": own}.get)
    keep_alive(SimpleNamespace(connection=SimpleNamespace(transport=transport)))


async def test_connections_that_a_restart_broke_are_made_anew(cluster, client):
    await asyncio.gather(*(client.get(MAPS) for _ in range(5)))
    await cluster.stop()
    await cluster.start()
    assert (await client.get(MAPS))["items"] is not None


async def test_a_get_whose_connection_breaks_is_asked_once_more_and_a_post_is_not(raw_server, settings_for):
    asked = []

    async def talk(head, writer):
        asked.append(head.split()[0])
        if len(asked) == 1:
            writer.write(answer(b"{}")[:-1])  # broken off
            writer.close()
        elif head.startswith("GET"):
            writer.write(answer(b"{}"))
        else:
            writer.close()

    async with raw_server(talk) as url, ApiClient(settings_for(url)) as client:
        assert await client.get("/x") == {}
        with pytest.raises(ApiError, match="the connection broke") as caught:
            await client.create("/x", {})
    assert (caught.value.status, caught.value.reason) == (0, "Unreachable")
    assert asked == ["GET", "GET", "POST"]


async def test_nobody_there_is_unreachable(settings_for):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with ApiClient(settings_for(f"http://127.0.0.1:{port}")) as client:
        words = rf"no connection to 127\.0\.0\.1:{port}: Connection refused$"
        with pytest.raises(ApiError, match=words) as caught:
            await client.get("/x")
    assert (caught.value.status, caught.value.reason) == (0, "Unreachable")


async def test_a_server_without_tls_is_named_with_what_tls_says(tmp_path):
    async with FakeApiServer() as server:
        server.write_kubeconfig(tmp_path / "config")
        content = yaml.safe_load((tmp_path / "config").read_text())
        content["clusters"][0]["cluster"]["server"] = server.url.replace("http:", "https:")
        (tmp_path / "config").write_text(yaml.safe_dump(content))
        async with ApiClient(ClusterSettings(kubeconfig=str(tmp_path / "config"))) as client:
            with pytest.raises(ApiError, match=r"no connection to 127\.0\.0\.1:\d+: \[SSL"):
                await client.get(MAPS)


@pytest.mark.parametrize("part", [b"", answer(b"{}")[:-1]])
async def test_a_server_that_falls_silent_is_given_up_on_in_time(raw_server, settings_for, part):
    async def talk(head, writer):
        writer.write(part)
        await writer.drain()
        await asyncio.Event().wait()

    async with raw_server(talk) as url, ApiClient(settings_for(url, request_timeout=0.2)) as client:
        with pytest.raises(ApiError, match=r"no answer within 0\.2 s"):
            await client.get("/x")
        if not part:
            with pytest.raises(ApiError, match=r"no answer within 0\.2 s"):
                async with client.open_watch("/x"):
                    pass


@pytest.mark.parametrize(
    ("told", "status", "reason", "words"),
    [
        (answer(b"<p>no</p>", "502 Bad Gateway", kind="text/html"), 502, "BadGateway", "(text/html, 9 bytes)"),
        (answer(b"", "302 Found", "Location: http://127.0.0.1:1/\r\n"), 302, "Found", "none of an API server's"),
        (answer(b"404 page not found\n", "404 Not Found", kind="text/plain"), 404, "NotFound", "there is no such path"),
        (answer(b"404 lost", "404 Not Found", kind="text/plain"), 404, "NotFound", "none of an API server's"),
        (answer(b"{}", "599 Odd"), 599, "Unknown", "none of an API server's"),
        (answer(b"ok", kind="text/plain"), 200, "InvalidAnswer", "no JSON object (text/plain, 2 bytes)"),
        (answer(b"[" * 100_000), 200, "InvalidAnswer", "no JSON object"),
        (answer(b'{"kind":"Status","code":true,"message":"m"}', "500 Oh"), 500, "InternalServerError", "m"),
    ],
)
async def test_whatever_is_answered_is_an_error_that_says_what(raw_server, settings_for, told, status, reason, words):
    async def talk(head, writer):
        writer.write(told)

    async with raw_server(talk) as url, ApiClient(settings_for(url)) as client:
        with pytest.raises(ApiError) as caught:
            await client.get("/x")
    assert (caught.value.status, caught.value.reason) == (status, reason)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("header", "details", "seconds"),
    [
        ("Retry-After: 7\r\n", {}, 7.0),
        ("", {"retryAfterSeconds": 3}, 3.0),
        ("Retry-After: Wed, 21 Oct 2037 07:28:00 GMT\r\n", {}, None),
        ("Retry-After: -1\r\n", {}, None),
        ("", None, None),
    ],
)
async def test_a_busy_server_says_when_to_come_back(raw_server, settings_for, header, details, seconds):
    status = {"kind": "Status", "code": 429, "reason": "TooManyRequests", "message": "later", "details": details}

    async def talk(head, writer):
        writer.write(answer(json.dumps(status).encode(), "429 Too Many Requests", header))

    async with raw_server(talk) as url, ApiClient(settings_for(url)) as client:
        with pytest.raises(ApiError, match="429 TooManyRequests: later") as caught:
            await client.get("/x")
    assert caught.value.retry_after == seconds


async def test_no_secret_is_shown_whatever_goes_wrong(raw_server, settings_for, caplog):
    caplog.set_level("DEBUG")

    async def echo(head, writer):
        body = head.encode()
        writer.write(answer(body, "400 Bad Request", kind="text/plain") if "/echo" in head else b"SSH-2.0\r\n\r\n")

    async with raw_server(echo) as url, ApiClient(settings_for(url, token=TOKEN)) as client:
        texts = [repr(client), repr(client._credentials), repr(await client._credentials.access())]
        for path in ("/echo", "/odd"):
            with pytest.raises(ApiError) as caught:
                await client.get(path)
            texts += [str(caught.value), repr(caught.value), repr(caught.value.__cause__)]
    assert TOKEN not in "".join(texts) + caplog.text


async def test_a_refused_token_is_read_anew_and_the_request_made_once_more(tmp_path):
    async with FakeApiServer(tokens={"old": "me"}) as server:
        (tmp_path / "token").write_text("old\n")
        (tmp_path / "kubeconfig").write_text(
            f"""
current-context: c
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
clusters: [{{name: c, cluster: {{server: "{server.url}"}}}}]
users: [{{name: u, user: {{tokenFile: token}}}}]
"""
        )
        async with ApiClient(ClusterSettings(kubeconfig=str(tmp_path / "kubeconfig"))) as client:
            await client.get(MAPS)
            server.tokens.clear()
            server.tokens["new"] = "me"
            (tmp_path / "token").write_text("new\n")
            await client.get(MAPS)
            (tmp_path / "token").unlink()
            await client.get(MAPS)
            server.tokens.clear()
            with pytest.raises(ApiError) as caught:
                await client.get(MAPS)
    assert (caught.value.status, caught.value.reason) == (401, "Unauthorized")


async def test_a_client_that_was_not_entered_says_so(settings_for):
    with pytest.raises(RuntimeError, match="must be entered"):
        await ApiClient(settings_for("http://127.0.0.1:1")).get("/x")
    client = ApiClient(settings_for("http://127.0.0.1:1", namespace="other"))
    assert client.namespace == "other"
    await client.__aexit__()


async def test_a_server_is_trusted_by_its_authority_and_an_authority_that_is_replaced_is_read_anew(tmp_path):
    async with FakeApiServer(tls=True) as server:
        server.write_kubeconfig(tmp_path / "whole")
        content = yaml.safe_load((tmp_path / "whole").read_text())
        cluster = content["clusters"][0]["cluster"]
        right = base64.b64decode(cluster.pop("certificate-authority-data"))
        cluster["certificate-authority"] = "ca.pem"
        (tmp_path / "config").write_text(yaml.safe_dump(content))
        (tmp_path / "ca.pem").write_bytes(trustme.CA().cert_pem.bytes())
        async with ApiClient(ClusterSettings(kubeconfig=str(tmp_path / "config"))) as client:
            words = r"no connection to 127\.0\.0\.1:\d+: its certificate is not accepted: \w"
            with pytest.raises(ApiError, match=words) as caught:
                await client.get(MAPS)
            assert caught.value.reason == "Unreachable"
            (tmp_path / "ca.pem").write_bytes(right)
            assert (await client.get(MAPS))["items"] == []


async def test_a_watch_that_the_server_ends_ends(raw_server, settings_for):
    async def talk(head, writer):
        writer.write(answer(b'{"type": "BOOKMARK", "object": {}}\n'))

    async with raw_server(talk) as url, ApiClient(settings_for(url)) as client:
        assert [event["type"] async for event in client.watch("/x")] == ["BOOKMARK"]
