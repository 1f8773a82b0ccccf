"""What is on the stage: processes, and where to reach them."""

import attrs

from examples.stage._processes import Spawned

__all__ = ["Envoy", "Epp", "ModelServer"]


@attrs.frozen
class Envoy:
    """A running Envoy.

    Attributes:
        process: The process.
        url: Where clients find it.
        admin_url: Where it tells of itself.
    """

    process: Spawned
    url: str
    admin_url: str


@attrs.frozen
class Epp:
    """A running Endpoint Picker.

    Attributes:
        process: The process.
        port: Where Envoy finds it.
        admin_url: Where it tells of itself.
    """

    process: Spawned
    port: int
    admin_url: str


@attrs.frozen
class ModelServer:
    """A running model server.

    Attributes:
        process: The process.
        name: The pod's name.
        port: Its TCP port on loopback.
    """

    process: Spawned
    name: str
    port: int

    @property
    def url(self) -> str:
        """Where it is found."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def entry(self) -> dict[str, object]:
        """What a file of pods says of it."""
        return {"name": self.name, "address": "127.0.0.1", "port": self.port}
