"""promtool: the machine's own, else Debian's, unpacked and not installed."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

from examples.stage.kubernetes.binaries._commands import BuildError, run

__all__ = ["put_promtool"]

_PACKAGE = "prometheus"


def put_promtool(folder: Path) -> None:
    """Put promtool into a folder; say so where it cannot be had, for only the tests of alerts need it."""
    installed = shutil.which("promtool")
    if installed is not None:
        (folder / "promtool").symlink_to(installed)
        return
    with tempfile.TemporaryDirectory() as scratch:
        try:
            _unpack(Path(scratch))
        except BuildError as error:
            print(f"going without promtool: {error}", file=sys.stderr)
            return
        shutil.copy(Path(scratch) / "usr" / "bin" / "promtool", folder / "promtool")


def _unpack(scratch: Path) -> None:
    # apt hands the download to another user, who may not write into our folder, and says so at length.
    download = ["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", _PACKAGE]
    try:
        run(download, scratch, os.environ)
    except BuildError:
        run(["apt-get", "update", "-q"], scratch, os.environ)
        run(download, scratch, os.environ)
    (package,) = scratch.glob(f"{_PACKAGE}_*.deb")
    run(["dpkg", "-x", str(package), str(scratch)], scratch, os.environ)
