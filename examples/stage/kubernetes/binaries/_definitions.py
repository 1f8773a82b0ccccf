"""Definitions of custom resources: those that a Go module publishes, and our own for those that we only read."""

import shutil
from pathlib import Path
from typing import Final

import attrs

from examples.stage.kubernetes.binaries._commands import BuildError
from examples.stage.kubernetes.binaries._go import Go

__all__ = ["OUR_OWN", "PUBLISHED", "Published", "collect"]

OUR_OWN: Final = Path(__file__).parents[1] / "crds"


@attrs.frozen
class Published:
    """Definitions that a Go module carries.

    Attributes:
        module: Its path.
        version: Its version.
        files: Which of its files.
    """

    module: str
    version: str
    files: tuple[str, ...]


_GATEWAY: Final = "config/crd/standard/gateway.networking.k8s.io"
PUBLISHED: Final = (
    Published(
        "sigs.k8s.io/gateway-api",
        "v1.4.0",
        (f"{_GATEWAY}_gatewayclasses.yaml", f"{_GATEWAY}_gateways.yaml", f"{_GATEWAY}_httproutes.yaml"),
    ),
    Published("sigs.k8s.io/lws", "v0.7.0", ("config/crd/bases/leaderworkerset.x-k8s.io_leaderworkersets.yaml",)),
    Published(
        "github.com/kedacore/keda/v2",
        "v2.18.0",
        ("config/crd/bases/keda.sh_scaledobjects.yaml", "config/crd/bases/keda.sh_triggerauthentications.yaml"),
    ),
)


def collect(go: Go, folder: Path) -> None:
    """Copy all definitions into a folder.

    Raises:
        BuildError: A module cannot be had, or has no such file.
    """
    folder.mkdir()
    for path in OUR_OWN.glob("*.yaml"):
        shutil.copyfile(path, folder / path.name)
    for published in PUBLISHED:
        module = go.module(published.module, published.version, folder)
        for name in published.files:
            if not (module / name).is_file():
                raise BuildError(f"{published.module}@{published.version} has no {name}")
            shutil.copyfile(module / name, folder / Path(name).name)
