"""The commands of ``python -m flowgate``, one module each."""

from flowgate.commands._check import add_check
from flowgate.commands._explain import add_explain
from flowgate.commands._outcome import CommandError
from flowgate.commands._top import add_top
from flowgate.commands._version import add_version, version_line

__all__ = ["CommandError", "add_check", "add_explain", "add_top", "add_version", "version_line"]
