"""Pods that somebody writes down."""

import ipaddress
from collections.abc import Mapping, Sequence

import attrs

from flowgate import Pod

__all__ = ["PodEntry", "canonical_endpoint", "distinct"]


def canonical_endpoint(pod: Pod) -> tuple[str, int]:
    """Return where a pod listens, the same for every spelling of an IPv6 address."""
    try:
        return ipaddress.ip_address(pod.address).compressed, pod.port
    except ValueError:  # a host name
        return pod.address, pod.port


@attrs.frozen
class PodEntry:
    """One pod of a list.

    Args:
        name: The pod's name.
        address: Its IP address, an IPv6 address with or without brackets. No host name: Envoy resolves none.
        port: Its TCP port, 1..65535.
        namespace: Where the name is unique.
        labels: Whatever schedulers may want to filter by.

    Raises:
        ValueError: A text is empty, the address is none, or the port out of range.
        TypeError: A field is of the wrong type.
    """

    name: str
    address: str
    port: int
    namespace: str = "default"
    labels: Mapping[str, str] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        address = self.to_pod().address
        if not _is_plain_ip(address):
            raise ValueError(f"address must be an IP address, for Envoy resolves no names, not {address!r}")

    def to_pod(self) -> Pod:
        """Return the pod."""
        return Pod(self.name, self.address, self.port, namespace=self.namespace, labels=self.labels)


def _is_plain_ip(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return "%" not in address  # Envoy does not read zones


def distinct(_record: object, field: "attrs.Attribute[Sequence[PodEntry]]", entries: Sequence[PodEntry]) -> None:
    """Check that no two entries share an endpoint: Envoy could not tell them apart."""
    names: dict[tuple[str, int], str] = {}
    for entry in entries:
        pod = entry.to_pod()
        endpoint = canonical_endpoint(pod)
        if endpoint in names:
            raise ValueError(
                f"{field.name} must differ in address and port, "
                f'but "{names[endpoint]}" and "{pod.name}" are both at {pod.endpoint}'
            )
        names[endpoint] = pod.name
