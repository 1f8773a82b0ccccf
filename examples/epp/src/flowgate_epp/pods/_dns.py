"""Pods that DNS names."""

import asyncio
import ipaddress
import logging
from collections.abc import Mapping
from typing import Final

import attrs
import dns.exception
import dns.name

from flowgate import Pod
from flowgate.validators import finite_seconds, number_in, one_of
from flowgate_epp.contracts import PodSink
from flowgate_epp.pods._lookup import Lookup, LookupFailedError, Records, split_server
from flowgate_epp.pods._outage import Backoff, Outage, jittered

__all__ = ["DnsPods"]

_logger = logging.getLogger("flowgate_epp.pods")

_FIRST_PAUSE: Final = 0.5
_LONGEST_PORT: Final = 65_535


def _check_host(_record: object, field: "attrs.Attribute[str]", value: str) -> None:
    try:
        name = dns.name.from_text(value, origin=None)
    except dns.exception.DNSException:
        name = dns.name.empty
    if not name.labels or any(character.isspace() for character in value):
        raise ValueError(f"{field.name} must be a DNS name, not {value!r}")


def _check_servers(_record: object, field: "attrs.Attribute[tuple[str, ...]]", servers: tuple[str, ...]) -> None:
    for server in servers:
        address, port = split_server(server)
        try:
            ipaddress.ip_address(address)
        except ValueError:
            raise ValueError(f"{field.name} must each be an ip or ip:port, not {server!r}") from None
        if not 1 <= port <= _LONGEST_PORT:
            raise ValueError(f"{field.name} must have ports in 1..{_LONGEST_PORT}, not {server!r}")


@attrs.frozen
class DnsPods:
    """A pod for each address of a DNS name, such as a headless Service's; its address is its name.

    A name that has no addresses, or does not exist, is a pool without pods: a Service at zero replicas looks like
    that. After an answer with addresses it must be said twice, for a server that has just begun may not know the name
    yet. No answer, or a server's own failure, says nothing: the pool stays as it is.

    Args:
        host: The name. It is asked of DNS alone, never of a hosts file.
        port: The TCP port of all pods, 1..65535.
        interval: Time from one answer to the next question, in seconds; jittered by a tenth.
        timeout: Longest time for one question, in seconds.
        records: Which records to ask for. ``"either"``: A, and AAAA only where there are no A, so that a pod that has
            both is there once. ``"both"``: each address is a pod.
        servers: DNS servers to ask, as ``ip`` or ``ip:port``; the system's where there are none.
        labels: The labels of all pods.

    Raises:
        ValueError: A value is out of range.
    """

    host: str = attrs.field(validator=_check_host)
    port: int = attrs.field(validator=number_in(1, _LONGEST_PORT))
    interval: float = attrs.field(default=5.0, validator=finite_seconds)
    timeout: float = attrs.field(default=2.0, validator=finite_seconds)
    records: Records = attrs.field(default="either", validator=one_of("either", "A", "AAAA", "both"))
    servers: tuple[str, ...] = attrs.field(default=(), validator=_check_servers)
    labels: Mapping[str, str] = attrs.field(factory=dict[str, str])

    async def run(self, sink: PodSink) -> None:
        """Follow the name until cancelled."""
        lookup = Lookup(self.host, self.records, self.servers, self.timeout)
        backoff = Backoff(_FIRST_PAUSE, self.interval)
        outage = Outage(_logger, f"the addresses of {self.host}", "the pool stays as it is")
        told: tuple[str, ...] = ()
        while True:
            pause = jittered(self.interval)
            try:
                found = await lookup.addresses()
            except LookupFailedError as error:
                outage.fail(str(error))
                pause = backoff.pause()
            else:
                outage.recover()
                backoff.reset()
                if told and not found:
                    told, pause = (), min(pause, _FIRST_PAUSE)
                else:
                    told = found
                    sink.set_pods(Pod(address, address, self.port, labels=self.labels) for address in found)
            await asyncio.sleep(pause)
