"""The real thing, built once: kube-apiserver, etcd and kubectl from Go modules, promtool, and published definitions."""

from examples.stage.kubernetes.binaries._binaries import build
from examples.stage.kubernetes.binaries._commands import BuildError

__all__ = ["BuildError", "build"]
