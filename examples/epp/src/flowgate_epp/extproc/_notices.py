"""What is worth a line in the log, but not one for each request."""

import logging
from typing import Final

__all__ = ["Notices"]

_logger = logging.getLogger("flowgate_epp.extproc")
_IN_A_ROW: Final = 3


class Notices:
    """Warnings that a server gives once a kind; kinds are our own words, never a client's."""

    def __init__(self) -> None:
        self._given: set[str] = set()
        self._unanswered = 0

    def warn(self, kind: str, message: str) -> None:
        """Log a warning, unless one of its kind was logged before."""
        if kind not in self._given:
            self._given.add(kind)
            _logger.warning("%s (further ones are not logged)", message)

    def response_seen(self) -> None:
        """Hear that Envoy has told of a response."""
        self._unanswered = 0

    def ended_at_pick(self) -> None:
        """Hear that a stream ended after its pick, before a response.

        One client that hangs up looks just so; when nobody's response is heard of, Envoy is not telling.
        """
        self._unanswered += 1
        if self._unanswered >= _IN_A_ROW:
            self.warn(
                "no-responses",
                "streams end at the pick, so slots are given back before their requests are served: "
                "set response_header_mode and response_trailer_mode of the filter's processing_mode to SEND",
            )
