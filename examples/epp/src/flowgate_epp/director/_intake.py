"""From what Envoy tells to what flow control asks: whose the request is, how important, how large, how patient."""

import re
from collections.abc import Mapping
from typing import Final

from flowgate_epp.contracts import Inbound
from flowgate_epp.director._bodies import NOTHING_ASKED, Asked, read_body
from flowgate_epp.director._ids import clean_id, flow_key
from flowgate_epp.director._objectives import Objectives
from flowgate_epp.director._requests import GatewayRequest
from flowgate_epp.director._settings import DirectorSettings

__all__ = ["Intake", "InvalidRequest"]

# Digits can be read in one way only: else a long row of them would cost the square of its length.
_SECONDS: Final = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+", re.ASCII)
_MOST_BELIEVED: Final = 65_536  # bytes; about as much as Envoy itself holds of a body that waits
_SIZE: Final = re.compile(r"[0-9]{1,18}", re.ASCII)


class InvalidRequest(Exception):  # noqa: N818 - the client's mistake, not ours
    """Raised when a request has a value that its client must mend.

    Attributes:
        request: What could be read of it.
    """

    def __init__(self, message: str, request: GatewayRequest) -> None:
        super().__init__(message)
        self.request = request


class Intake:
    """Reads requests.

    Args:
        settings: Which headers say what.
        objectives: The priorities.
    """

    def __init__(self, settings: DirectorSettings, objectives: Objectives) -> None:
        self._settings = settings
        self._objectives = objectives

    def read(self, inbound: Inbound) -> GatewayRequest:
        """Read a request.

        Raises:
            InvalidRequest: Its time to live is no such thing, or its body is none and `strict_body` is set.
        """
        settings, headers, body = self._settings, inbound.headers, inbound.body
        asked, ttl, problem = NOTHING_ASKED, None, None
        try:
            if body:
                asked = self._read_body(body)
            ttl = self._read_ttl(headers)
        except ValueError as error:
            problem = str(error)
        objective = _first(headers, settings.objective_headers)
        priority = None if objective is None else self._objectives.priority(objective)
        if priority is None:
            objective, priority = None, settings.default_priority
        model = asked.model or _first(headers, settings.model_headers) or ""
        model = model and clean_id(model)
        request_id = headers.get("x-request-id")
        request = GatewayRequest(
            flow_key(_first(headers, settings.fairness_headers) or settings.default_flow, priority),
            _stated_size(headers) if body is None else len(body),
            ttl,
            self._metadata(inbound, model, objective),
            clean_id(request_id) if request_id else None,
            model,
            asked,
            settings.assumed_tokens,
        )
        if problem is not None:
            raise InvalidRequest(problem, request)
        return request

    def _read_body(self, body: bytes) -> Asked:
        try:
            return read_body(body)
        except ValueError:
            if self._settings.strict_body:
                raise
            return NOTHING_ASKED

    def _read_ttl(self, headers: Mapping[str, str]) -> float | None:
        name = self._settings.ttl_header
        text = headers.get(name) if name else None
        if text is None:
            return None
        # Not all that float() takes: "inf", "1_000" and "1e9" are no numbers of seconds.
        seconds = float(text) if _SECONDS.fullmatch(text) else 0.0
        if seconds > 0:
            return min(seconds, self._settings.max_ttl)
        raise ValueError(f"{name} must be a number of seconds, more than 0, not {text!r:.40}")

    def _metadata(self, inbound: Inbound, model: str, objective: str | None) -> Mapping[str, object]:
        metadata: dict[str, object] = {}
        if self._settings.metadata_headers:
            there = {name: inbound.headers[name] for name in self._settings.metadata_headers if name in inbound.headers}
            metadata.update(there)
            metadata["headers"] = there
        if model:
            metadata["model"] = model
        if objective is not None:
            metadata["objective"] = objective
        # The gateway's own words last: no header takes their place.
        if inbound.metadata:
            for name in self._settings.metadata_namespaces:
                if name in inbound.metadata:
                    metadata[name] = inbound.metadata[name]
        return metadata


def _first(headers: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    """Return the first of these headers that is there and not empty."""
    for name in names:
        value = headers.get(name)
        if value:
            return value
    return None


def _stated_size(headers: Mapping[str, str]) -> int:
    """Return the size of a body that we neither see nor hold; believed up to a bound, or a few words fill a band."""
    text = headers.get("content-length")
    return min(int(text), _MOST_BELIEVED) if text is not None and _SIZE.fullmatch(text) else 0
