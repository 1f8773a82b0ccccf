"""Kubernetes on the stage: a fake API server in process, a real one as processes, and a way to them that can break."""

from examples.stage.kubernetes._fake import FakeApiServer
from examples.stage.kubernetes._fake_status import StatusError
from examples.stage.kubernetes._faulty_path import FaultyPath
from examples.stage.kubernetes._real import KubectlError, RealCluster

__all__ = ["FakeApiServer", "FaultyPath", "KubectlError", "RealCluster", "StatusError"]
