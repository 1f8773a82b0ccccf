"""The namespace of the overlays, and the tools that judge manifests."""

from pathlib import Path

import pytest

from examples.stage.kubernetes import RealCluster

MANIFESTS = Path(__file__).parents[2] / "manifests"


@pytest.fixture(scope="session")
def manifests():
    return MANIFESTS


@pytest.fixture(scope="session")
async def namespace(cluster: RealCluster):
    name = "flowgate"
    await cluster.ask("POST", "/api/v1/namespaces", {"metadata": {"name": name}}, accept=409)
    return name
