"""What a class lacks of its contract, by name."""

from typing_extensions import get_protocol_members

__all__ = ["lacking", "not_callable"]


def lacking(plugin: object, contract: type) -> list[str]:
    """Name the members of a contract that a plug-in has not."""
    return sorted(name for name in get_protocol_members(contract) if not hasattr(plugin, name))


def not_callable(plugin: object, *parts: str) -> list[str]:
    """Name the optional parts that a plug-in has, not as a method and not as None."""
    found = {name: getattr(plugin, name, None) for name in parts}
    return [name for name, part in found.items() if part is not None and not callable(part)]
