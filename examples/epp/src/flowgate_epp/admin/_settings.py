"""What an operator decides of the admin server."""

import attrs

from flowgate.validators import at_least, finite_seconds, instance_of, number_in

__all__ = ["AdminSettings"]


def _check_port(config: object, field: "attrs.Attribute[int]", value: int) -> None:
    at_least(0)(config, field, value)
    number_in(0, 65_535)(config, field, value)


@attrs.frozen
class AdminSettings:
    """Where the admin server listens, and what it shows.

    It asks nobody who they are. Whoever reaches the page sees flows, models, pods and request ids: keep the port inside
    the cluster, or leave the page out.

    Args:
        host: The address it listens on.
        port: Its TCP port; 0 for any that is free.
        page: Whether there is the page, with its state, events and explanations.
        interval: Seconds between two pictures that a page gets.
        max_watchers: Most pages that are watched at once; one more is told 503.
        explain_last: Of how many requests that left the page can still say how and why; where ``flow_control`` says
            more, that many. 0 for only those that wait.
    """

    host: str = attrs.field(default="0.0.0.0", validator=instance_of(str))  # noqa: S104 - probes come from outside
    port: int = attrs.field(default=9_090, validator=_check_port)
    page: bool = attrs.field(default=True, validator=instance_of(bool))
    interval: float = attrs.field(default=0.25, validator=finite_seconds)
    max_watchers: int = attrs.field(default=64, validator=at_least(0))
    explain_last: int = attrs.field(default=1_000, validator=at_least(0))
