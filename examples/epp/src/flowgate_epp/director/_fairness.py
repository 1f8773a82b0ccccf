"""Fairness by tokens: who asks for much gets fewer requests through."""

from collections.abc import Mapping

from flowgate.contracts import FlowControlRequest
from flowgate.policies import VirtualTokenCounter
from flowgate_epp.director._requests import GatewayRequest

__all__ = ["estimated_tokens", "token_counter"]

_BYTES_OF_A_TOKEN = 4
_IDLE_FLOWS = 4_096


def estimated_tokens(request: FlowControlRequest) -> float:
    """Return about how many tokens a request costs: its prompt's, and all that it asks for.

    Of a request that is not the director's, only the size is known.
    """
    if isinstance(request, GatewayRequest):
        return request.estimated_tokens
    return request.byte_size() / _BYTES_OF_A_TOKEN


def token_counter(weights: Mapping[str, float] | None = None, max_idle_flows: int = _IDLE_FLOWS) -> VirtualTokenCounter:
    """Make a fairness policy by which flows of one band get the same number of tokens, not of requests.

    Tokens are estimated, by `estimated_tokens`: bytes of the prompt / 4, and the tokens asked for, in each of ``n``
    answers.

    Args:
        weights: By flow id; a flow of weight 2 gets twice as much as one that is not listed.
        max_idle_flows: How many flows that are ahead, and do not wait, a group remembers.

    Raises:
        ValueError: A weight is not finite and more than 0, or `max_idle_flows` negative.
        TypeError: One of them is of the wrong type.
    """
    return VirtualTokenCounter(weights, estimated_tokens, max_idle_flows)
