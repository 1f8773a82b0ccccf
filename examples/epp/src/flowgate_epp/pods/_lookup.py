"""A name's addresses, asked of DNS."""

from collections.abc import Sequence
from typing import Literal

import dns.asyncresolver
import dns.exception
import dns.nameserver
import dns.resolver

__all__ = ["Lookup", "LookupFailedError", "Records", "split_server"]

Records = Literal["either", "A", "AAAA", "both"]

_DNS_PORT = 53


class LookupFailedError(Exception):
    """Raised when nobody answers, or the answer is that of a server in trouble: the addresses are not known."""


class Lookup:
    """Asks for the addresses of one name.

    Not by ``getaddrinfo``, which blocks a thread that cannot be called back, asks the system's servers alone, and on
    some systems says of a network that is down what it says of a name that does not exist.

    Args:
        host: The name; completed by the system's search domains where it is not absolute.
        records: Which records to ask for; of ``"either"`` AAAA only where there are no A.
        servers: Those to ask, as ``ip`` or ``ip:port``; the system's where there are none.
        timeout: Longest time for one question, in seconds, the servers asked one after the other.
        resolv_conf: Where the system names its servers and search domains.
    """

    def __init__(
        self,
        host: str,
        records: Records,
        servers: Sequence[str],
        timeout: float,
        resolv_conf: str = "/etc/resolv.conf",
    ) -> None:
        self._host = host
        self._kinds = ("A", "AAAA") if records in {"either", "both"} else (records,)
        self._is_first_enough = records == "either"
        self._servers = servers
        self._timeout = timeout
        self._resolv_conf = resolv_conf

    async def addresses(self) -> tuple[str, ...]:
        """Return the addresses, sorted, each once; none when the name has none or does not exist.

        Raises:
            LookupFailedError: They are not known.
        """
        found: set[str] = set()
        try:
            resolver = self._resolver()
            for kind in self._kinds:
                found |= await self._ask(resolver, kind)
                if found and self._is_first_enough:
                    break
        except dns.resolver.NXDOMAIN:
            # For want of AAAA alone, some servers say that a name with A does not exist.
            return tuple(sorted(found))
        except dns.exception.Timeout as error:
            # Its own words differ each time.
            raise LookupFailedError(f"no answer within {self._timeout:g} s from {_names(resolver)}") from error
        except (dns.exception.DNSException, OSError, ValueError) as error:  # ValueError: resolv.conf names no address
            raise LookupFailedError(str(error)) from error
        return tuple(sorted(found))

    def _resolver(self) -> dns.asyncresolver.Resolver:
        # Made for each lookup: resolv.conf may have changed.
        resolver = dns.asyncresolver.Resolver(self._resolv_conf, configure=not self._servers)
        if self._servers:
            addresses = [split_server(server) for server in self._servers]
            resolver.nameservers = [dns.nameserver.Do53Nameserver(address, port) for address, port in addresses]
        return resolver

    async def _ask(self, resolver: dns.asyncresolver.Resolver, kind: str) -> set[str]:
        answer = await resolver.resolve(
            self._host, kind, raise_on_no_answer=False, lifetime=self._timeout, search=not self._servers
        )
        return {record.address for record in answer.rrset or ()}


def _names(resolver: dns.asyncresolver.Resolver) -> str:
    return ", ".join(str(server) for server in resolver.nameservers)


def split_server(server: str) -> tuple[str, int]:
    """Return a server's address and port; the port of DNS where it names none.

    >>> split_server("127.0.0.1:8600"), split_server("[fd00::a]:5353"), split_server("fd00::a")
    (('127.0.0.1', 8600), ('fd00::a', 5353), ('fd00::a', 53))
    """
    address, _, port = server.rpartition(":")
    has_port = port.isascii() and port.isdecimal() and (":" not in address or address.endswith("]"))
    return (address.strip("[]"), int(port)) if has_port else (server.strip("[]"), _DNS_PORT)
