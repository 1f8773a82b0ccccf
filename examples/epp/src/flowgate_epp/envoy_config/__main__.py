"""The command line: ``python -m flowgate_epp.envoy_config --listen 0.0.0.0:8080 --epp epp:9002 > envoy.yaml``."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any, get_args

from flowgate_epp.envoy_config._config import envoy_config
from flowgate_epp.envoy_config._settings import BodyMode, EnvoySettings

__all__ = ["main"]

_ADDRESSES = {
    "listen": "where clients are served",
    "admin": "where Envoy's operators are; none for nowhere",
    "epp": "where the Endpoint Picker is; several at fixed addresses are separated by commas",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the configuration.

    Args:
        arguments: Those of the command line; None for the process's own.

    Returns:
        The exit code, 0; a wrong command line exits with 2.
    """
    parser = _parser()
    given: dict[str, Any] = vars(parser.parse_args(arguments))
    try:
        for name in _ADDRESSES:
            given |= _address(name, given.pop(name))
        settings = EnvoySettings(**given)
    except ValueError as error:
        parser.error(str(error))
    sys.stdout.write(envoy_config(settings))
    return 0


def _address(name: str, text: str) -> dict[str, Any]:
    if name == "admin" and text == "none":
        return {"admin_port": None}
    if name == "epp" and "," in text:
        return {"epp_endpoints": tuple(text.split(","))}
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal():
        raise ValueError(f"{name} must be HOST:PORT, not {text!r}")
    return {f"{name}_host": host, f"{name}_port": int(port)}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m flowgate_epp.envoy_config",
        allow_abbrev=False,
        description="Print Envoy's configuration for the Endpoint Picker, with the reason for each line.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    default = EnvoySettings()

    def option(name: str, kind: type, text: str, metavar: str) -> None:
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=kind, default=getattr(default, name), help=text, metavar=metavar
        )

    for name, text in _ADDRESSES.items():
        host, port = getattr(default, f"{name}_host"), getattr(default, f"{name}_port")
        parser.add_argument(f"--{name}", metavar="HOST:PORT", default=f"{host}:{port}", help=text)
    option("epp_tls_ca", str, "file of the authorities that vouch for the EPP; plain text unless given", metavar="FILE")
    option("epp_server_name", str, "the name in its certificate; its host unless given", metavar="NAME")
    text = "how much of a request the EPP sees"
    parser.add_argument("--body", dest="body_mode", choices=get_args(BodyMode), default=default.body_mode, help=text)
    option("longest_hold", float, "seconds a request may be held; the longest TTL", metavar="SECONDS")
    option("longest_silence", float, "seconds a pod may send nothing", metavar="SECONDS")
    option("longest_upload", float, "seconds a client has to send its request", metavar="SECONDS")
    option("max_held", int, "requests at the same time", metavar="N")
    option("max_connections", int, "connections of clients", metavar="N")
    option("max_body", int, "largest body where it is buffered", metavar="BYTES")
    option("connect_timeout", float, "seconds to connect to a pod or to the EPP", metavar="SECONDS")
    option("pod_keep_alive", float, "seconds an idle connection to a pod is kept", metavar="SECONDS")
    option("subset_header", str, "header that confines a request to endpoints; trusted networks only", metavar="NAME")
    parser.add_argument("--access-log", action="store_true", help="write each request to stdout, as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
