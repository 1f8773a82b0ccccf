"""A kubeconfig, as a file."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path

__all__ = ["kubeconfig"]

_NAME = "stage"


def kubeconfig(path: Path, url: str, namespace: str, authority: bytes | None, user: Mapping[str, str]) -> None:
    """Write a kubeconfig with one context; it is JSON, which is YAML.

    Args:
        path: The file; only its owner may read it.
        url: Where the API server is.
        namespace: The context's.
        authority: The certificate of whoever signed the server's, as PEM; None without TLS.
        user: The credentials.
    """
    trust = {} if authority is None else {"certificate-authority-data": base64.b64encode(authority).decode()}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": _NAME,
        "clusters": [{"name": _NAME, "cluster": {"server": url, **trust}}],
        "users": [{"name": _NAME, "user": dict(user)}],
        "contexts": [{"name": _NAME, "context": {"cluster": _NAME, "user": _NAME, "namespace": namespace}}],
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(content, indent=2), "utf-8")
