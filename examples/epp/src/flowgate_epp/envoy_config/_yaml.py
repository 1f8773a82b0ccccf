"""Pieces of YAML: values that are safe in it, and indentation."""

import ipaddress
import json
import textwrap

__all__ = ["address", "block", "duration", "is_ip", "quoted"]


def quoted(text: str) -> str:
    """Return a text as a YAML string; every JSON string is one."""
    return json.dumps(text)


def duration(seconds: float) -> str:
    """Return a duration as Envoy reads it, exact to the millisecond and never 0."""
    return f"{max(seconds, 0.001):.3f}".rstrip("0").rstrip(".") + "s"


def address(host: str, port: int) -> str:
    """Return a socket's address."""
    return f"{{socket_address: {{address: {quoted(host.strip('[]'))}, port_value: {port}}}}}"


def is_ip(host: str) -> bool:
    """Say whether a host is an IP address; else it is a name."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def block(depth: int, text: str) -> str:
    """Return a piece of YAML without its own indentation, and at a depth of two spaces each."""
    return textwrap.indent(textwrap.dedent(text).strip("\n"), "  " * depth) + "\n"
