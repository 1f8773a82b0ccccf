"""Envoys that differ from the one users get in a single thing."""

from typing import Any

import yaml

__all__ = ["answering", "straight"]

_BODY = '{"choices": []}'


def answering(text: str) -> str:
    """Let an Envoy answer every request itself, and ask nobody: a pod that costs next to nothing."""
    config = yaml.safe_load(text)
    manager = _manager(config)
    _drop_picker(manager)
    direct = {"status": 200, "body": {"inline_string": _BODY}}
    manager["route_config"]["virtual_hosts"] = [
        {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "direct_response": direct}]}
    ]
    return yaml.safe_dump(config)


def straight(text: str, port: int) -> str:
    """Let an Envoy send every request to one pod, and ask nobody."""
    config = yaml.safe_load(text)
    _drop_picker(_manager(config))
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    for cluster in config["static_resources"]["clusters"]:
        if cluster.get("type") == "ORIGINAL_DST":
            for key in ("lb_policy", "original_dst_lb_config", "cleanup_interval"):
                cluster.pop(key, None)
            cluster["type"] = "STATIC"
            endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
            cluster["load_assignment"] = {"cluster_name": cluster["name"], "endpoints": endpoints}
    return yaml.safe_dump(config)


def _manager(config: dict[str, Any]) -> dict[str, Any]:
    (listener,) = config["static_resources"]["listeners"]
    manager: dict[str, Any] = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return manager


def _drop_picker(manager: dict[str, Any]) -> None:
    (picker,) = [each for each in manager["http_filters"] if each["name"] == "envoy.filters.http.ext_proc"]
    manager["http_filters"].remove(picker)
