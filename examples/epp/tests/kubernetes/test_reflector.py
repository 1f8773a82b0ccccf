import asyncio
import json
import logging
import tempfile
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from examples.stage.kubernetes import FakeApiServer, FaultyPath
from flowgate_epp.kubernetes import ApiClient, ClusterSettings, Reflector

pytestmark = pytest.mark.anyio

SPACE = "/api/v1/namespaces/default"
MAPS = f"{SPACE}/configmaps"


def config_map(name, data="1", **labels):
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default", "labels": {"of": "test", **labels}},
        "data": {"value": data},
    }


class View:
    """What a follower knows; it minds being told what it knows, and of what it has never heard."""

    def __init__(self, choke_on=()):
        self.objects = {}
        self.updates = []
        self.choke_on = set(choke_on)

    def update(self, changed, removed):
        self.updates.append((list(changed), list(removed)))
        for one in changed:
            if one["metadata"]["name"] in self.choke_on:
                raise RuntimeError("cannot be taken")
        for one in removed:
            assert self.objects.pop(one["metadata"]["name"])["metadata"]["uid"] == one["metadata"]["uid"]
        for one in changed:
            known = self.objects.get(one["metadata"]["name"])
            assert known is None or known["metadata"]["uid"] == one["metadata"]["uid"]
            assert known is None or known["metadata"]["resourceVersion"] != one["metadata"]["resourceVersion"]
            self.objects[one["metadata"]["name"]] = one

    @property
    def is_synced(self):
        return bool(self.updates)

    @property
    def values(self):
        return {name: one["data"]["value"] for name, one in self.objects.items()}


@asynccontextmanager
async def reflecting(client, view, path=MAPS, **told):
    reflector = Reflector(client, path, view, label_selector="of=test", what="the maps", **told)
    task = asyncio.create_task(reflector.run())
    try:
        yield reflector
    finally:
        assert not task.done(), task
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_the_first_update_is_the_whole_list_even_an_empty_one(client, until):
    view = View()
    async with reflecting(client, view) as reflector:
        await until(lambda: view.is_synced)
        assert repr(reflector) == "<Reflector: the maps, 0 objects>"
    assert view.updates == [([], [])]


async def test_objects_are_followed_as_they_come_change_and_go(client, until):
    await client.create(MAPS, config_map("a"))
    await client.create(MAPS, config_map("other", of="others"))
    view = View()
    async with reflecting(client, view):
        await until(lambda: view.values == {"a": "1"})
        await client.create(MAPS, config_map("b"))
        await until(lambda: view.values == {"a": "1", "b": "1"})
        await client.patch(f"{MAPS}/a", {"data": {"value": "2"}})
        await until(lambda: view.values == {"a": "2", "b": "1"})
        await client.delete(f"{MAPS}/b")
        await until(lambda: view.values == {"a": "2"})
        assert "managedFields" not in view.objects["a"]["metadata"]


async def test_what_stops_to_be_selected_has_gone(client, until):
    await client.create(MAPS, config_map("a"))
    view = View()
    async with reflecting(client, view):
        await until(lambda: view.values == {"a": "1"})
        await client.patch(f"{MAPS}/a", {"metadata": {"labels": {"of": "others"}}})
        await until(lambda: not view.objects)


async def test_a_list_of_many_pages_is_one_update(cluster, client, until, tmp_path):
    for index in range(7):
        await client.create(MAPS, config_map(f"m{index}"))
    view = View()
    paged = ClusterSettings(kubeconfig=client.settings.kubeconfig, page_size=2)
    async with ApiClient(paged) as paging, reflecting(paging, view):
        await until(lambda: view.is_synced)
    assert [len(changed) for changed, _ in view.updates] == [7]


async def test_after_a_restart_what_went_meanwhile_is_noticed(cluster, client, until, tmp_path):
    await client.create(MAPS, config_map("a"))
    await client.create(MAPS, config_map("b"))
    view = View()
    async with reflecting(client, view):
        await until(lambda: len(view.objects) == 2)
        await cluster.stop()
        await cluster.start()
        async with ApiClient(client.settings) as other:
            await other.delete(f"{MAPS}/a")
        await until(lambda: view.values == {"b": "1"})


@asynccontextmanager
async def through(path, client):
    """A client whose way to the server can break."""
    kubeconfig = redirected(Path(client.settings.kubeconfig), port_of(client), path.port)
    told = ClusterSettings(kubeconfig=str(kubeconfig), max_pause=0.05, silence=1.0, request_timeout=1.0)
    async with ApiClient(told) as there:
        yield there


def redirected(kubeconfig, port, other_port):
    copy = kubeconfig.with_name("through")
    copy.write_text(kubeconfig.read_text().replace(f":{port}", f":{other_port}"))
    return copy


def port_of(client):
    return int(client._credentials.server.rsplit(":", 1)[1])


async def test_a_forgotten_version_costs_only_the_difference(cluster, client, until, compact, tmp_path):
    await client.create(MAPS, config_map("a"))
    await client.create(MAPS, config_map("b"))
    view = View()
    async with FaultyPath(port_of(client)) as path, through(path, client) as far, reflecting(far, view):
        await until(lambda: len(view.objects) == 2)
        before, told = view.objects["b"], len(view.updates)
        path.blackhole()
        await client.delete(f"{MAPS}/a")
        await client.create(MAPS, config_map("a", "anew"))
        await client.create(MAPS, config_map("c"))
        await client.delete(f"{MAPS}/c")
        await compact(cluster)
        path.reset()
        path.heal()
        await until(lambda: view.values == {"a": "anew", "b": "1"})
        assert view.objects["b"] is before
        if isinstance(cluster, FakeApiServer):  # a real one's watch cache may still know every step
            assert [[len(part) for part in update] for update in view.updates[told:]] == [[1, 1]]


async def test_a_silent_way_is_noticed_and_what_happened_meanwhile_is_told(client, until, tmp_path, caplog):
    await client.create(MAPS, config_map("a"))
    view = View()
    async with FaultyPath(port_of(client)) as path, through(path, client) as far, reflecting(far, view) as it:
        await until(lambda: view.is_synced)
        path.blackhole()
        await client.delete(f"{MAPS}/a")
        await until(lambda: it.failures)
        assert view.values == {"a": "1"}
        path.heal()
        await until(lambda: not view.objects)
        await until(lambda: not it.failures)
    assert "the maps: Unreachable: no answer within 1 s" in caplog.text


async def test_a_broken_connection_is_no_outage_when_the_next_one_is_well(client, until, tmp_path, caplog):
    view = View()
    async with FaultyPath(port_of(client)) as path, through(path, client) as far, reflecting(far, view) as it:
        await until(lambda: view.is_synced)
        await until(lambda: it._is_settled)
        for breaks in (path.cut, path.reset):
            breaks()
            await client.create(MAPS, config_map(breaks.__name__))
            await until(lambda breaks=breaks: breaks.__name__ in view.objects)
            await until(lambda: it._is_settled)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_an_object_that_cannot_be_taken_costs_only_itself_and_is_told_once(client, until, caplog):
    view = View(choke_on={"odd"})
    for name in ("a", "odd", "z"):
        await client.create(MAPS, config_map(name))
    async with reflecting(client, view):
        await until(lambda: set(view.objects) == {"a", "z"})
        await client.patch(f"{MAPS}/odd", {"data": {"value": "2"}})
        await client.create(MAPS, config_map("after"))
        await until(lambda: set(view.objects) == {"a", "z", "after"})
    assert caplog.text.count("default/odd is passed over") == 1


async def test_a_follower_that_fails_does_not_end_what_it_follows(client, until, caplog):
    class Failing:
        calls = 0

        def update(self, changed, removed):
            self.calls += 1
            raise OSError("no")

    failing = Failing()
    async with reflecting(client, failing):
        await until(lambda: failing.calls == 1)
        for name in "abcdefghijkl":
            await client.create(MAPS, config_map(name))
            await client.delete(f"{MAPS}/{name}")
        await until(lambda: "default/g is passed over" in caplog.text)
    assert "an empty list is passed over" in caplog.text
    assert caplog.text.count("is passed over") == 8


async def test_a_trim_is_what_the_follower_sees_and_one_that_raises_changes_nothing(client, until):
    def trim(one):
        if one["metadata"]["name"] == "odd":
            raise KeyError("spec")
        return {"metadata": one["metadata"], "data": {"value": "trimmed"}}

    await client.create(MAPS, config_map("a"))
    await client.create(MAPS, config_map("odd"))
    view = View()
    async with reflecting(client, view, trim=trim):
        await until(lambda: view.values == {"a": "trimmed", "odd": "1"})


async def test_a_resource_that_is_not_there_yet_is_told_clearly_and_followed_once_it_is(client, until, caplog):
    view = View()
    async with reflecting(client, view, path="/apis/example.com/v1/namespaces/default/wishes") as it:
        await until(lambda: it.failures >= 2)
    assert caplog.text.count("is its CustomResourceDefinition installed?") == 1
    assert not view.is_synced


# Against servers of the test's own, for what no API server does on demand.


def answer(content, status="200 OK", headers="", kind="application/json"):
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def listing(*items, version="10", follows=""):
    return {
        "kind": "ConfigMapList",
        "metadata": {"resourceVersion": version, "continue": follows},
        "items": list(items),
    }


def seen(name, version, uid="u"):
    return {"metadata": {"name": name, "resourceVersion": version, "uid": uid}, "data": {"value": version}}


def event(kind, one):
    return json.dumps({"type": kind, "object": one}).encode() + b"\n"


def chunk(content):
    return f"{len(content):x}\r\n".encode() + content + b"\r\n"


STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


class Script:
    """Answers lists and watches from lists of answers; the last of each is given again and again."""

    def __init__(self, lists, watches):
        self.lists, self.watches = lists, watches
        self.heads = []

    async def __call__(self, head, writer):
        self.heads.append(head.splitlines()[0])
        answers = self.watches if "watch=true" in head else self.lists
        told = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(told, bytes):
            writer.write(told)
            return
        for part in told:
            if part is None:
                await asyncio.Event().wait()
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.01)  # so that each part is read on its own
        writer.close()

    def count(self, word):
        return sum(word in head for head in self.heads)


HANG = [STREAM, None]


@pytest.fixture
def scripted(raw_server, settings_for, until):
    @asynccontextmanager
    async def scripted(lists, watches, **told):
        script, view = Script(lists, watches), View()
        async with (
            raw_server(script) as url,
            ApiClient(settings_for(url, **told)) as client,
            reflecting(client, view) as reflector,
        ):
            yield script, view, reflector

    return scripted


async def test_events_of_one_chunk_are_one_update_and_the_newest_of_each_object_counts(scripted, until):
    burst = (
        event("ADDED", seen("a", "11"))
        + event("MODIFIED", seen("a", "12"))
        + event("ADDED", seen("b", "13"))
        + event("ADDED", seen("c", "14"))
        + event("DELETED", seen("c", "15"))
        + event("DELETED", seen("old", "16"))
        + event("ADDED", seen("old", "17", uid="new"))
        + event("BOOKMARK", {"metadata": {"resourceVersion": "18"}})
    )
    async with scripted([answer(listing(seen("old", "3")))], [[STREAM, chunk(burst)], HANG]) as (script, view, _):
        await until(lambda: script.count("resourceVersion=18"))
        assert view.values == {"a": "12", "b": "13", "old": "17"}
        assert len(view.updates) == 2
        assert [one["metadata"]["name"] for one in view.updates[1][1]] == ["old"]


async def test_a_line_may_have_any_length_and_come_in_any_pieces(scripted, until):
    long = seen("a", "11") | {"data": {"value": "x" * 3_000_000}}
    line = event("ADDED", long) + event("ADDED", seen("ü", "12"))
    pieces = [chunk(line[at : at + 70_001]) for at in range(0, len(line), 70_001)]
    async with scripted([answer(listing())], [[STREAM, *pieces, chunk(event("ADDED", seen("z", "13"))), None]]) as (
        _,
        view,
        _,
    ):
        await until(lambda: set(view.objects) == {"a", "ü", "z"})
        assert len(view.values["a"]) == 3_000_000


async def test_a_line_that_broke_off_is_asked_for_again(scripted, until):
    half = event("ADDED", seen("b", "12"))[:-9]
    first = [STREAM, chunk(event("ADDED", seen("a", "11")) + half)]
    second = [STREAM, chunk(event("ADDED", seen("b", "12"))), None]
    async with scripted([answer(listing())], [first, second]) as (script, view, _):
        await until(lambda: view.values == {"a": "11", "b": "12"})
        assert script.count("resourceVersion=11") == 1


@pytest.mark.parametrize(
    "end",
    [
        [STREAM, chunk(event("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}))],
        [STREAM, chunk(b"nonsense\n")],
        [STREAM, chunk(b'{"type": "ADDED"}\n')],
        [STREAM, chunk(event("ADDED", {"metadata": {"resourceVersion": "11"}}))],
        [STREAM, chunk(event("BOOKMARK", {"metadata": {}}))],
        answer({"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}, "410 Gone"),
        answer({"kind": "Status", "code": 504, "reason": "Timeout", "message": "too large"}, "504 Gateway Timeout"),
    ],
)
async def test_a_version_of_no_use_is_followed_by_a_list(scripted, until, end):
    lists = [answer(listing(seen("a", "3"), seen("b", "4"))), answer(listing(seen("b", "4"), version="20"))]
    async with scripted(lists, [end, HANG]) as (script, view, _):
        await until(lambda: script.count("resourceVersion=20"))
        assert view.values == {"b": "4"}
        assert [len(part) for part in view.updates[1]] == [0, 1]


async def test_a_list_anew_that_differs_in_nothing_tells_nothing(scripted, until):
    lists = [answer(listing(seen("a", "3"))), answer(listing(seen("a", "3"), version="20"))]
    gone = [STREAM, chunk(event("ERROR", {"kind": "Status", "code": 410, "message": "too old"}))]
    async with scripted(lists, [gone, HANG]) as (script, view, _):
        await until(lambda: script.count("resourceVersion=20"))
        assert len(view.updates) == 1


async def test_events_before_an_error_in_one_chunk_are_told(scripted, until):
    gone = event("ERROR", {"kind": "Status", "code": 500, "reason": "InternalError", "message": "oh"})
    watches = [[STREAM, chunk(event("ADDED", seen("a", "11")) + gone)], HANG]
    async with scripted([answer(listing())], watches) as (script, view, _):
        await until(lambda: script.count("resourceVersion=11"))
        assert view.values == {"a": "11"}


async def test_a_list_whose_continuation_is_forgotten_is_read_anew_in_one_piece(scripted, until):
    gone = answer({"kind": "Status", "code": 410, "reason": "Expired", "message": "continue"}, "410 Gone")
    lists = [answer(listing(seen("ghost", "1"), follows="more")), gone, answer(listing(seen("a", "2")))]
    async with scripted(lists, [HANG]) as (script, view, _):
        await until(lambda: view.is_synced)
        assert view.values == {"a": "2"}
        assert "limit=" not in script.heads[2]
        assert "continue=more" in script.heads[1]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (answer(b"<html>", "502 Bad Gateway", kind="text/html"), "502 BadGateway"),
        (answer(b"<html>", kind="text/html"), "no JSON object (text/html, 6 bytes)"),
        (answer([1]), "InvalidAnswer"),
        (answer({"kind": "Pod", "metadata": {}}), "an answer that is no list"),
        (answer({"kind": "PodList", "items": None, "metadata": {}}), "without metadata.resourceVersion"),
        (
            answer({"items": [{"metadata": {"name": "a"}}], "metadata": {"resourceVersion": "1"}}),
            "without metadata.name",
        ),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "Unreachable"),
        (answer({"kind": "Status", "code": 403, "reason": "Forbidden", "message": "no"}, "403 Forbidden"), '"watch"'),
    ],
)
async def test_an_answer_of_no_use_is_an_outage_that_ends(scripted, until, caplog, bad, words):
    lists = [bad, bad, answer({"kind": "ConfigMapList", "items": None, "metadata": {"resourceVersion": "7"}})]
    caplog.set_level(logging.INFO)
    async with scripted(lists, [HANG]) as (_, view, reflector):
        await until(lambda: view.is_synced)
        await until(lambda: not reflector.failures)
    assert caplog.text.count(words) == 1 or words == "Unreachable"
    assert "the maps: well again" in caplog.text


async def test_a_server_that_asks_for_time_is_given_it(scripted, until):
    busy = answer({"kind": "Status", "code": 429, "message": "later"}, "429 Too Many Requests", "Retry-After: 1\r\n")
    started = asyncio.get_running_loop().time()
    async with scripted([busy, answer(listing())], [HANG]) as (_, view, _):
        await until(lambda: view.is_synced)
    assert asyncio.get_running_loop().time() - started >= 1.0


async def test_watches_that_end_as_they_begin_do_not_spin(scripted, until, caplog):
    async with scripted([answer(listing())], [[STREAM, b"0\r\n\r\n"]], max_pause=0.2) as (script, _, it):
        await until(lambda: it.failures >= 3)
        assert script.count("watch=true") <= 4
    assert "as soon as it had begun" in caplog.text


async def test_a_watch_is_bounded_by_the_server_and_told_so(scripted, until):
    async with scripted([answer(listing())], [HANG], watch_timeout=100.0) as (script, _, _):
        await until(lambda: script.count("watch=true"))
        query = next(head for head in script.heads if "watch=true" in head)
    seconds = int(query.split("timeoutSeconds=")[1].split("&")[0].split()[0])
    assert 90 <= seconds <= 110
    assert "allowWatchBookmarks=true" in query
    assert "labelSelector=of" in query


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["create", "update", "delete"]), st.sampled_from("abcd")),
        st.tuples(st.sampled_from(["compact", "drop", "restart", "cut", "reset", "breathe"]), st.just("")),
    ),
    max_size=25,
)


@given(steps=STEPS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_happens_the_follower_ends_up_with_the_servers_list(steps):
    asyncio.run(follow_through(steps))


async def follow_through(steps):
    with tempfile.TemporaryDirectory() as folder:
        async with FakeApiServer() as server:
            kubeconfig = Path(folder) / "kubeconfig"
            server.write_kubeconfig(kubeconfig)
            async with ApiClient(ClusterSettings(kubeconfig=str(kubeconfig))) as client:
                view = View()
                async with (
                    FaultyPath(port_of(client)) as path,
                    through(path, client) as far,
                    reflecting(far, view),
                ):
                    values = {}
                    for step, name in steps:
                        await take_step(server, path, values, step, name)
                    assert values == await server_values(client)
                    async with asyncio.timeout(20):
                        while view.values != values or not view.is_synced:
                            await asyncio.sleep(0.01)


async def take_step(server, path, values, step, name):
    if step == "create" and name not in values:
        values[name] = "1"
        await server.create(MAPS, config_map(name))
    elif step == "update" and name in values:
        values[name] += "1"
        one = await server.get(f"{MAPS}/{name}")
        await server.update(f"{MAPS}/{name}", one | {"data": {"value": values[name]}})
    elif step == "delete" and name in values:
        del values[name]
        await server.delete(f"{MAPS}/{name}")
    elif step == "restart":
        await server.stop()
        await server.start()
    elif step == "breathe":
        await asyncio.sleep(0.02)
    elif not name:
        {"compact": server.compact, "drop": server.drop_connections, "cut": path.cut, "reset": path.reset}[step]()


async def server_values(client):
    return {one["metadata"]["name"]: one["data"]["value"] for one in (await client.get(MAPS))["items"]}
