"""The command line: ``python -m flowgate_epp --config FILE``, or ``flowgate-epp --config FILE``."""

import argparse
import asyncio
import gc
import resource
import sys
from collections.abc import Sequence
from importlib.metadata import version

import attrs

from flowgate.configfile import ConfigError, explain, explain_error
from flowgate.locators import StaticPodLocator, SubsetPodLocator
from flowgate_epp.config import EppSettings, load
from flowgate_epp.leadership import LeadershipLost
from flowgate_epp.program import check_startable, run
from flowgate_epp.report import describe
from flowgate_epp.telemetry import TracingUnavailable

__all__ = ["main"]

_FAILED = 1
_LOST = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the Endpoint Picker, or check its file.

    Args:
        arguments: Those of the command line; None for the process's own.

    Returns:
        The exit code: 0 after a shutdown in good order and for a good file, 1 when the file is wrong or the program
        cannot start, 3 when somebody else may lead: start it again. A wrong command line exits with 2.
    """
    given = _parser().parse_args(arguments)
    try:
        settings = load(given.config)
    except ConfigError as error:
        return _complain(explain_error(error))
    try:
        check_startable(settings)
    except (ValueError, TracingUnavailable) as error:
        return _complain(f"{given.config}: {error}")
    if given.check:
        print(f"{given.config} is fine. This is what it means.\n\n{_explained(settings)}")
        return 0
    _allow_many_connections()
    # What is there now stays: the collector need not look through it again and again while requests come and go.
    gc.freeze()
    try:
        asyncio.run(run(settings))
    except (OSError, ValueError, TracingUnavailable) as error:
        return _complain(f"flowgate-epp cannot start: {error}")
    except LeadershipLost:  # the log has said so
        return _LOST
    return 0


def _explained(settings: EppSettings) -> str:
    locator = SubsetPodLocator(StaticPodLocator(), empty_hint=settings.director.empty_subset)
    in_force = attrs.evolve(settings.flow_control, detector=settings.detector, locator=locator)
    flow_control = explain(in_force).replace(repr(locator), "subsets of the pods above")
    return f"{describe(settings)}\n\nFlow control\n============\n\n{flow_control}"


def _allow_many_connections() -> None:
    """Raise the limit of open files as far as we may: each pod that is scraped has a connection."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _complain(text: str) -> int:
    print(text, file=sys.stderr)
    return _FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="flowgate-epp", description="A reference Endpoint Picker: flowgate behind Envoy's external processing."
    )
    parser.add_argument("--config", metavar="FILE", required=True, help="a .toml, .yaml or .yml file")
    parser.add_argument("--check", action="store_true", help="only check the file, and say what it means")
    parser.add_argument("--version", action="version", version=f"flowgate-epp {version('flowgate-epp')}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
