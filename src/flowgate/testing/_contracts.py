"""What a class lacks of its contract, by name."""

from typing_extensions import get_protocol_members

__all__ = ["assert_complete", "assert_parts_callable"]


def assert_complete(plugin: object, contract: type) -> None:
    """Require every member of a contract.

    Raises:
        AssertionError: A plug-in lacks some; it names them.
    """
    missing = sorted(name for name in get_protocol_members(contract) if not hasattr(plugin, name))
    assert not missing, f"{type(plugin).__name__} lacks: {', '.join(missing)}"


def assert_parts_callable(plugin: object, *names: str) -> None:
    """Require that each optional part that a plug-in has is a method, or None.

    Raises:
        AssertionError: One is something else; it says what.
    """
    for name in names:
        part = getattr(plugin, name, None)
        assert part is None or callable(part), f"{type(plugin).__name__}.{name} is {part!r}: it must be a method"
