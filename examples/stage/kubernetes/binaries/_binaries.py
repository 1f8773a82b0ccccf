"""The folder with all that a real cluster's API takes, made once for each set of versions."""

import hashlib
import os
import re
import shutil
from pathlib import Path
from typing import Final

from examples.stage.kubernetes.binaries._definitions import OUR_OWN, PUBLISHED, collect
from examples.stage.kubernetes.binaries._go import Go, find_go
from examples.stage.kubernetes.binaries._promtool import put_promtool

__all__ = ["build"]

_HERE: Final = Path(__file__).parent
_COMPONENT_VERSION: Final = "k8s.io/component-base/version"


def build() -> Path:
    """Return the folder with kube-apiserver, etcd, kubectl, promtool and crds/, built if it is not there.

    It lies in the user's cache, named by what it is made from; whoever looks sees the whole of it or nothing.

    Raises:
        BuildError: Something cannot be built or fetched.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flowgate" / "kubernetes"
    folder = cache / _key()
    if _is_whole(folder):
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    draft = cache / f"{folder.name}.{os.getpid()}"
    draft.mkdir()
    try:
        _fill(draft, find_go(cache))
        # A program that lay elsewhere, and went, makes a folder unusable.
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def _fill(folder: Path, go: Go) -> None:
    major, minor, _ = _version().split(".")
    values = {"gitVersion": f"v{_version()}", "gitMajor": major, "gitMinor": minor}
    flags = " ".join(f"-X {_COMPONENT_VERSION}.{name}={value}" for name, value in values.items())
    collect(go, folder / "crds")
    put_promtool(folder)
    for program in ("etcd", "kube-apiserver"):
        go.build(_HERE / program, folder, flags)
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        go.build(_HERE / "kubectl", folder, flags)
    else:
        (folder / "kubectl").symlink_to(kubectl)


def _is_whole(folder: Path) -> bool:
    return all(os.access(folder / program, os.X_OK) for program in ("kube-apiserver", "etcd", "kubectl"))


def _version() -> str:
    found: list[str] = re.findall(r"^\tk8s\.io/kubernetes v(\S+)", (_HERE / "go.mod").read_text("utf-8"), re.MULTILINE)
    return found[0]


def _key() -> str:
    made_from = hashlib.sha256(repr(PUBLISHED).encode())
    for path in sorted([*_HERE.glob("go.*"), *_HERE.glob("*/main.go"), *OUR_OWN.glob("*.yaml")]):
        made_from.update(path.name.encode() + b"\0" + path.read_bytes())
    return f"{_version()}-{made_from.hexdigest()[:12]}"
