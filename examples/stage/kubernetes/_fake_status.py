"""How a Kubernetes API server says no: an HTTP status, and a `Status` object that tells why."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from examples.stage.kubernetes._fake_kinds import Kind

__all__ = [
    "REASONS",
    "StatusError",
    "already_exists",
    "bad_request",
    "conflict",
    "expired",
    "invalid",
    "not_found",
    "unmet",
]

REASONS: Mapping[int, str] = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    409: "Conflict",
    410: "Expired",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class StatusError(Exception):
    """Raised when a request is refused.

    Attributes:
        code: The HTTP status.
        body: The `Status` object.
        retry_after: Seconds after which to ask again; None if the server does not say.
    """

    def __init__(
        self,
        code: int,
        message: str,
        *,
        reason: str | None = None,
        details: Mapping[str, Any] | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after = retry_after
        said = REASONS.get(code, "") if reason is None else reason
        self.body: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        self.body["message"] = message
        if said:
            self.body["reason"] = said
        if details is not None:
            self.body["details"] = dict(details)
        self.body["code"] = code

    @classmethod
    def plain(cls, code: int) -> "StatusError":
        """Return the refusal of a request that never reached an object."""
        phrases = {
            401: "Unauthorized",
            404: "the server could not find the requested resource",
            405: "the server does not allow this method on the requested resource",
        }
        message = phrases.get(code, HTTPStatus(code).phrase)
        return cls(code, message, details=None if code == HTTPStatus.UNAUTHORIZED else {})


def bad_request(message: str) -> StatusError:
    """Return the refusal of a request that makes no sense."""
    return StatusError(400, message)


def not_found(kind: Kind, name: str) -> StatusError:
    """Return the refusal for an object that is not there."""
    return StatusError(404, f'{kind.resource} "{name}" not found', details=_of_resource(kind, name))


def already_exists(kind: Kind, name: str) -> StatusError:
    """Return the refusal to create what is there."""
    message = f'{kind.resource} "{name}" already exists'
    return StatusError(409, message, reason="AlreadyExists", details=_of_resource(kind, name))


def conflict(
    kind: Kind,
    name: str,
    why: str = "the object has been modified; please apply your changes to the latest version and try again",
) -> StatusError:
    """Return the refusal of a change that was made on something else than what is there."""
    message = f'Operation cannot be fulfilled on {kind.resource} "{name}": {why}'
    return StatusError(409, message, details=_of_resource(kind, name))


def unmet(kind: Kind, name: str, why: str) -> StatusError:
    """Return the refusal of a deletion whose precondition does not hold."""
    message = f'Operation cannot be fulfilled on {kind.full_name} "{name}": {why}'
    details = {"name": name, "group": kind.group, "kind": kind.kind}
    return StatusError(409, message, details={key: value for key, value in details.items() if value})


def invalid(kind: Kind, name: str, field: str, why: str, reason: str = "FieldValueInvalid") -> StatusError:
    """Return the refusal of an object that breaks a rule."""
    causes: Sequence[object] = [{"reason": reason, "message": why, "field": field}]
    details = {"name": name, "group": kind.group, "kind": kind.kind}
    said = {key: value for key, value in details.items() if value} | {"causes": causes}
    return StatusError(422, f'{kind.full_name} "{name}" is invalid: {field}: {why}', details=said)


def expired(message: str) -> StatusError:
    """Return the refusal to tell what has been forgotten."""
    return StatusError(410, message)


def _of_resource(kind: Kind, name: str) -> dict[str, str]:
    details = {"name": name, "group": kind.group, "kind": kind.plural}
    return {key: value for key, value in details.items() if value}
