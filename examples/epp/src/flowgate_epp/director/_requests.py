"""A gateway's request, as flow control sees it."""

from collections.abc import Mapping
from typing import Final
from uuid import uuid4

from flowgate import FlowKey
from flowgate_epp.director._bodies import NOTHING_ASKED, Asked

__all__ = ["GatewayRequest"]

_BYTES_OF_A_TOKEN: Final = 4


class GatewayRequest:
    """A `FlowControlRequest` that was read from Envoy's messages; it does not lead to the body.

    Args:
        flow_key: Whose it is, and its priority.
        size: Of the prompt, in bytes.
        ttl: Longest time in the queue, in seconds; None leaves it to the controller's budgets.
        metadata: What locators and policies read.
        request_id: Envoy's or the client's; made when first asked for, if None.
        model: The model asked for, cleaned; empty where that is not known.
        asked: What the body asks for.
        assumed_tokens: Output tokens, where the body asks for no number.
    """

    # Hand-written and slotted: one is made for each request.
    __slots__ = ("_assumed_tokens", "_metadata", "_request_id", "_ttl", "asked", "key", "model", "size")

    def __init__(
        self,
        flow_key: FlowKey,
        size: int,
        ttl: float | None,
        metadata: Mapping[str, object],
        request_id: str | None = None,
        model: str = "",
        asked: Asked = NOTHING_ASKED,
        assumed_tokens: int = 0,
    ) -> None:
        self.key: FlowKey = flow_key
        self.size: int = size
        self._ttl = ttl
        self._metadata = metadata
        self._request_id = request_id
        self.model: str = model
        self.asked: Asked = asked
        self._assumed_tokens = assumed_tokens

    @property
    def estimated_tokens(self) -> float:
        """What it may cost: a token for each 4 bytes of prompt, and those it asks for, in all answers."""
        asked = self.asked
        each = self._assumed_tokens if asked.output_tokens is None else asked.output_tokens
        return self.size / _BYTES_OF_A_TOKEN + each * asked.choices

    def request_id(self) -> str:
        """Return its id, made now if nobody gave one."""
        if self._request_id is None:
            self._request_id = uuid4().hex
        return self._request_id

    def flow_key(self) -> FlowKey:
        """Return its flow."""
        return self.key

    def byte_size(self) -> int:
        """Return its size in bytes."""
        return self.size

    def initial_effective_ttl(self) -> float | None:
        """Return its own TTL in seconds, or None."""
        return self._ttl

    def get_metadata(self) -> Mapping[str, object]:
        """Return its metadata."""
        return self._metadata

    def __repr__(self) -> str:
        key = self.key
        return f"GatewayRequest({key.id!r}, priority={key.priority}, model={self.model!r}, byte_size={self.size})"
