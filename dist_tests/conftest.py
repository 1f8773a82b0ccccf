"""The wheel and the sdist, built once, and environments in which nothing but them is known."""

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a command, and return what it prints; what it prints when it fails is the test's failure."""
    arguments = list(map(str, command))
    done = subprocess.run(arguments, cwd=cwd, check=False, capture_output=True, text=True, timeout=540)  # noqa: S603 - our own
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@attrs.frozen
class Built:
    """What was built.

    Attributes:
        wheel: The wheel.
        sdist: The source distribution.
        tree: The latter, unpacked, without ``src/``.
    """

    wheel: Path
    sdist: Path
    tree: Path


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("built")
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    tree = folder / sdist.name.removesuffix(".tar.gz")
    shutil.rmtree(tree / "src")
    return Built(wheel, sdist, tree)


@pytest.fixture
def install(built: Built, tmp_path: Path) -> Callable[..., Path]:
    def install(extras: str = "", constraints: Sequence[str] = ()) -> Path:
        """Make an environment with the wheel; return its folder of programs."""
        folder, listed = tmp_path / "venv", tmp_path / "constraints.txt"
        venv.create(folder, with_pip=True)
        listed.write_text("\n".join(constraints), "utf-8")
        pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        run(*pip, f"{built.wheel}{extras}", "--constraint", listed)
        return folder / "bin"

    return install


def floors() -> Sequence[str]:
    """Return a constraint for each requirement of the project that has a least version, extras for users included."""
    extras = PROJECT["optional-dependencies"]
    wanted = [*PROJECT["dependencies"], *(each for name in ("test", "testing", "top", "yaml") for each in extras[name])]
    return sorted({re.sub(r"^([\w.-]+)>=([\d.]+).*$", r"\1==\2", each) for each in wanted})
