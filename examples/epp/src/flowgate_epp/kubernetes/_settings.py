"""How the cluster is reached."""

import attrs

from flowgate.validators import at_least, finite_seconds, number
from flowgate_epp.kubernetes._pool import check_namespace

__all__ = ["ClusterSettings"]

_AT_LEAST_ONE = number(lambda value: value >= 1, "be 1 or more seconds")


def _not_empty(_settings: object, field: "attrs.Attribute[str | None]", value: str | None) -> None:
    if value == "":
        raise ValueError(f"{field.name} must not be empty")


@attrs.frozen
class ClusterSettings:
    """Where the cluster's API server is, who we are to it, and how patient we are.

    A watch whose connection broke silently is noticed by the system after about half a minute, when the other host does
    not answer; else, as behind a load balancer that does, after `silence`. Servers usually send a bookmark each minute,
    but do not promise it; where they send none, a watch is resumed once every `silence`, and nothing is lost by that.

    Args:
        kubeconfig: The kubeconfig file; None for the service account in a pod, else the file that the environment's
            KUBECONFIG names, else ~/.kube/config.
        context: The kubeconfig's context; None for its current one. Where it is given, a kubeconfig is read in a
            pod, too.
        namespace: The namespace of what is named without one; None for the credentials' own.
        request_timeout: Longest time for one request, in seconds; of a watch, until it begins.
        watch_timeout: Time after which the server is to end a watch, in seconds, 1 or more; jittered, and rounded to
            whole seconds.
        silence: Longest time in which a watch says nothing, in seconds, 1 or more; then it is resumed over a new
            connection.
        max_pause: Longest pause between attempts that fail, in seconds.
        page_size: Most objects that the server is to list in one answer.

    Raises:
        ValueError: A value is out of range.
    """

    kubeconfig: str | None = attrs.field(default=None, validator=_not_empty)
    context: str | None = attrs.field(default=None, validator=_not_empty)
    namespace: str | None = attrs.field(default=None, validator=check_namespace)
    request_timeout: float = attrs.field(default=10.0, validator=finite_seconds)
    watch_timeout: float = attrs.field(default=290.0, validator=[finite_seconds, _AT_LEAST_ONE])
    silence: float = attrs.field(default=75.0, validator=[finite_seconds, _AT_LEAST_ONE])
    max_pause: float = attrs.field(default=10.0, validator=finite_seconds)
    page_size: int = attrs.field(default=100, validator=at_least(1))
