"""What the fake server serves, and in which ways one kind differs from another."""

import attrs

__all__ = ["CATALOG", "Kind"]


@attrs.frozen
class Kind:
    """One kind of objects.

    Attributes:
        group: Its group; "" is core.
        version: Its version.
        plural: Its name in paths.
        kind: Its name in objects.
        is_namespaced: Whether its objects live in namespaces.
        is_custom: Whether a definition at run time brought it. Custom objects are told with their kind in lists, must
            say it when they are created, and a PUT must name the version that it replaces.
        has_status: Whether there is /status, without which a write does not change the status.
        has_generation: Whether metadata.generation counts changes of what is wished.
        scale_selector: Where the object has the selector of its /scale, with dots; None for kinds without /scale.
        is_strict: Whether a PUT must name the version that it replaces, as all custom kinds ask.
        is_made_by_put: Whether a PUT makes an object that is not there.
        tells_deleted: Whether DELETE answers with the object rather than a Status.
        fields: What field selectors may name, beside metadata.name and metadata.namespace.
    """

    group: str
    version: str
    plural: str
    kind: str
    is_namespaced: bool = True
    is_custom: bool = False
    has_status: bool = True
    has_generation: bool = True
    scale_selector: str | None = None
    is_strict: bool = False
    is_made_by_put: bool = False
    tells_deleted: bool = False
    fields: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        """What its objects have as apiVersion."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """What most errors call it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def full_name(self) -> str:
        """What errors about its rules call it."""
        return f"{self.kind}.{self.group}" if self.group else self.kind


CATALOG: tuple[Kind, ...] = (
    Kind("", "v1", "namespaces", "Namespace", is_namespaced=False, has_generation=False),
    Kind("", "v1", "nodes", "Node", is_namespaced=False, has_generation=False),
    Kind("", "v1", "pods", "Pod", tells_deleted=True, fields=("spec.nodeName", "status.phase")),
    Kind("", "v1", "services", "Service", has_generation=False, tells_deleted=True),
    Kind("", "v1", "configmaps", "ConfigMap", has_status=False, has_generation=False),
    Kind("apps", "v1", "deployments", "Deployment", scale_selector="spec.selector"),
    Kind("apps", "v1", "statefulsets", "StatefulSet", scale_selector="spec.selector"),
    Kind(
        "coordination.k8s.io", "v1", "leases", "Lease",
        has_status=False, has_generation=False, is_strict=True, is_made_by_put=True,
    ),
    Kind("inference.networking.k8s.io", "v1", "inferencepools", "InferencePool", is_custom=True),
    Kind("inference.networking.x-k8s.io", "v1alpha2", "inferenceobjectives", "InferenceObjective", is_custom=True),
    Kind(
        "leaderworkerset.x-k8s.io", "v1", "leaderworkersets", "LeaderWorkerSet",
        is_custom=True, scale_selector="status.hpaPodSelector",
    ),
)  # fmt: skip
