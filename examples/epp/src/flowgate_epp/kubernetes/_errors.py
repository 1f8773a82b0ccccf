"""What goes wrong with the cluster."""

__all__ = ["ApiError", "BrokenConnectionError", "CredentialsError"]


class CredentialsError(ValueError):
    """Raised when no usable credentials are found: says in which file, where in it, and by which rule."""


class ApiError(Exception):
    """Raised when the API server, or the way to it, says no.

    Args:
        status: The HTTP status; 0 when there was no answer.
        reason: The server's word: "Conflict", "AlreadyExists", "NotFound", "Expired", "Forbidden"...; "Unreachable"
            when there was no answer, "NoCredentials" when there was nothing to ask with, "InvalidAnswer" when the
            answer was none of an API server's.
        message: The same in one sentence.
        retry_after: When to ask again at the earliest, in seconds from now; None when nobody said.
    """

    def __init__(self, status: int, reason: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(status, reason, message, retry_after)
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after

    def __str__(self) -> str:
        status = f"{self.status} " if self.status else ""
        return f"{status}{self.reason}: {self.message}"


class BrokenConnectionError(ApiError):
    """Raised when a connection broke that had been there, such as one that outlived an API server."""
