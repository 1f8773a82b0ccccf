"""Pods that DNS names, asked of a real server."""

import asyncio
from contextlib import asynccontextmanager

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from flowgate.configfile import ConfigError, load_record
from flowgate_epp.pods import DnsPods
from flowgate_epp.pods._lookup import Lookup, LookupFailedError

NAME = "model.test."


class DnsServer(asyncio.DatagramProtocol):
    """Answers for one name.

    `say` sets what: the addresses, an rcode, or None for silence. `A` and `AAAA` records are told apart by the colon.
    Asked for the kind `denied`, it says NXDOMAIN.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._answer = ()
        self.denied = None
        self._event = asyncio.Event()

    def connection_made(self, transport):
        self._transport = transport
        self.address = "{}:{}".format(*transport.get_extra_info("sockname"))

    def say(self, answer):
        self._answer = answer

    def datagram_received(self, data, client):
        query = dns.message.from_wire(data)
        (question,) = query.question
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append(kind)
        self._event.set()
        answer = self._answer
        if answer is None:
            return
        response = dns.message.make_response(query)
        if isinstance(answer, str):
            response.set_rcode(dns.rcode.from_text(answer))
        elif question.name.to_text() != NAME or kind == self.denied:
            response.set_rcode(dns.rcode.NXDOMAIN)
        elif records := [address for address in answer if (":" in address) == (kind == "AAAA")]:
            response.answer.append(dns.rrset.from_text(NAME, 5, "IN", kind, *records))
        self._transport.sendto(response.to_wire(), client)

    async def until_asked(self, times):
        """Wait for further questions; the answers to all but the last have come by then."""
        goal = len(self.asked) + times
        async with asyncio.timeout(10):
            while len(self.asked) < goal:
                self._event.clear()
                await self._event.wait()


@asynccontextmanager
async def serving(answer):
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(DnsServer, ("127.0.0.1", 0))
    server.say(answer)
    try:
        yield server
    finally:
        transport.close()


def source(server, **settings):
    return DnsPods(NAME, 8000, **{"interval": 0.01, "timeout": 0.2, "servers": (server.address,), **settings})


def test_it_follows_the_addresses_of_a_name(follow):
    """Sorted, named by themselves, each with the port and labels of all."""

    async def scenario():
        async with serving(["10.0.0.2", "10.0.0.1"]) as server:
            dns_pods = source(server, labels={"zone": "eu"})
            async with follow(dns_pods) as followed:
                await followed.until(["10.0.0.1", "10.0.0.2"])
                assert [pod.endpoint for pod in followed.store.pods] == ["10.0.0.1:8000", "10.0.0.2:8000"]
                assert [pod.labels for pod in followed.store.pods] == [{"zone": "eu"}] * 2
                server.say(["10.0.0.3"])
                await followed.until(["10.0.0.3"])

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("records", "answer", "names"),
    [
        ("either", ["10.0.0.1", "fd00::1"], ["10.0.0.1"]),
        ("either", ["fd00::2", "fd00::1"], ["fd00::1", "fd00::2"]),
        ("A", ["10.0.0.1", "fd00::1"], ["10.0.0.1"]),
        ("AAAA", ["10.0.0.1", "fd00::1"], ["fd00::1"]),
        ("both", ["10.0.0.1", "fd00::1"], ["10.0.0.1", "fd00::1"]),
    ],
)
def test_it_asks_for_the_records_it_is_told(records, answer, names, follow):
    """By default a pod with addresses of both kinds is one pod."""

    async def scenario():
        async with serving(answer) as server, follow(source(server, records=records)) as followed:
            await followed.until(names)

    asyncio.run(scenario())


@pytest.mark.parametrize("nothing", [(), "NXDOMAIN"], ids=["no records", "no such name"])
def test_a_name_without_addresses_is_a_pool_without_pods(nothing, follow):
    """At first at once: the program is ready to hold requests."""

    async def scenario():
        async with serving(nothing) as server, follow(source(server)) as followed:
            await followed.until([])
            server.say(["10.0.0.1"])
            await followed.until(["10.0.0.1"])
            server.say(nothing)
            await followed.until([])

    asyncio.run(scenario())


def test_one_empty_answer_empties_no_pool(follow):
    """It must be said twice in a row."""

    async def scenario():
        async with serving(["10.0.0.1"]) as server, follow(source(server, records="A")) as followed:
            await followed.until(["10.0.0.1"])
            for _ in range(5):
                server.say("NXDOMAIN")
                await server.until_asked(1)
                server.say(["10.0.0.1"])
                await server.until_asked(2)
            assert [] not in followed.told
            server.say("NXDOMAIN")
            await followed.until([])

    asyncio.run(scenario())


@pytest.mark.parametrize("trouble", ["SERVFAIL", "REFUSED", None], ids=["server failure", "refused", "silence"])
def test_no_answer_leaves_the_pool_and_is_logged_once(trouble, follow, logged, caplog):
    """And so is its end."""

    async def scenario():
        async with serving(["10.0.0.1"]) as server, follow(source(server, timeout=0.05)) as followed:
            await followed.until(["10.0.0.1"])
            server.say(trouble)
            await server.until_asked(4)
            assert f"the addresses of {NAME}: " in await logged("the pool stays as it is")
            assert followed.names == ["10.0.0.1"]
            server.say(["10.0.0.2"])
            await followed.until(["10.0.0.2"])
            await logged("well again")
            assert [] not in followed.told
        assert sum(record.levelname == "WARNING" for record in caplog.records) == 1

    asyncio.run(scenario())


def test_before_the_first_answer_it_tells_nothing(follow, logged):
    """The pool is not synced."""

    async def scenario():
        async with serving("SERVFAIL") as server, follow(source(server)) as followed:
            await logged("the pool stays as it is")
            assert not followed.store.is_synced
            server.say(["10.0.0.1"])
            await followed.until(["10.0.0.1"])

    asyncio.run(scenario())


def test_half_an_answer_is_none(follow, logged):
    """Where both kinds are asked for and one fails, its pods have not gone."""

    async def scenario():
        async with serving(["10.0.0.1", "fd00::1"]) as server:

            def refuse_aaaa(data, client):
                is_aaaa = dns.message.from_wire(data).question[0].rdtype == dns.rdatatype.AAAA
                server.say("SERVFAIL" if is_aaaa else ["10.0.0.1"])
                DnsServer.datagram_received(server, data, client)

            async with follow(source(server, records="both")) as followed:
                await followed.until(["10.0.0.1", "fd00::1"])
                server.datagram_received = refuse_aaaa
                await logged("the pool stays as it is")
                assert followed.names == ["10.0.0.1", "fd00::1"]

    asyncio.run(scenario())


def test_the_second_server_is_asked_where_the_first_is_silent(follow):
    """Within the time for one question."""

    async def scenario():
        async with serving("SERVFAIL") as first, serving(["10.0.0.1"]) as second:
            both = source(first, servers=(first.address, second.address))
            async with follow(both) as followed:
                await followed.until(["10.0.0.1"])

    asyncio.run(scenario())


def test_without_servers_the_system_tells_them(tmp_path):
    """By resolv.conf, read for each lookup; one that cannot be read is an outage as well."""

    async def scenario():
        lookup = Lookup("model.test", "A", (), timeout=0.1, resolv_conf=str(tmp_path / "resolv.conf"))
        with pytest.raises(LookupFailedError):
            await lookup.addresses()
        # Nobody listens there.
        (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.213\nsearch svc.cluster.test\n")
        with pytest.raises(LookupFailedError, match=r"127\.0\.0\.213"):
            await lookup.addresses()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"host": ""}, "host: must be a DNS name, not ''"),
        ({"host": "model .test"}, "host: must be a DNS name, not 'model .test'"),
        ({"host": "a" * 64}, "host: must be a DNS name, not 'aaa"),
        ({"port": 0}, "port: must lie in 1..65535, not 0"),
        ({"interval": 0}, "interval: must be more than 0 seconds, not 0"),
        ({"timeout": -1}, "timeout: must be more than 0 seconds, not -1"),
        ({"records": "SRV"}, 'records: expected "either", "A", "AAAA" or "both", not "SRV"'),
        ({"servers": ["dns.test"]}, "servers: must each be an ip or ip:port, not 'dns.test'"),
        ({"servers": ["10.0.0.1:0"]}, "servers: must have ports in 1..65535, not '10.0.0.1:0'"),
    ],
)
def test_mistakes_of_its_configuration_name_value_and_rule(settings, message):
    """Before anything runs."""
    with pytest.raises(ConfigError) as caught:
        load_record(DnsPods, {"host": "model.test", "port": 8000, **settings})
    assert message in str(caught.value)


def test_it_is_chosen_by_host_and_port():
    """All else has a default."""
    assert load_record(DnsPods, {"host": "model.test", "port": 8000}) == DnsPods("model.test", 8000)
    assert DnsPods("model.test", 8000, servers=("10.0.0.1", "[fd00::1]:5353", "fd00::1")).interval == 5.0


@pytest.mark.parametrize("records", ["either", "both"])
def test_a_server_that_denies_the_name_for_want_of_aaaa_takes_no_pod_away(records, follow):
    """As some load balancers do: the A records were there."""

    async def scenario():
        async with serving(["10.0.0.1"]) as server:
            server.denied = "AAAA"
            async with follow(source(server, records=records)) as followed:
                await followed.until(["10.0.0.1"])
                await server.until_asked(6)
                assert followed.told[-1] == ["10.0.0.1"]

    asyncio.run(scenario())


def test_a_resolv_conf_that_names_no_address_is_an_outage(tmp_path):
    async def scenario():
        (tmp_path / "resolv.conf").write_text("nameserver not-an-address\n")
        lookup = Lookup("model.test", "A", (), timeout=0.1, resolv_conf=str(tmp_path / "resolv.conf"))
        with pytest.raises(LookupFailedError, match="not-an-address"):
            await lookup.addresses()

    asyncio.run(scenario())
