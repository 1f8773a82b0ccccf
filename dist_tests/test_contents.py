"""What the wheel and the sdist hold, and what they say of themselves."""

import tarfile
import zipfile
from email import message_from_string
from pathlib import Path

from dist_tests.conftest import PROJECT, ROOT, Built


def test_the_wheel_holds_the_package_and_nothing_else(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    sources = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("*.py")}
    assert names == sources | {"flowgate/py.typed"}


def test_the_sdist_holds_what_its_own_tests_need(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = {"/".join(Path(name).parts[1:]) for name in archive.getnames()}
    for needed in "LICENSE", "README.md", "CHANGELOG.md", "SECURITY.md", "Makefile", "pyproject.toml", ".ci/run":
        assert needed in names
    for folder in "src", "tests", "dist_tests", "examples", "docs", "benchmarks":
        sources = {path.relative_to(ROOT) for path in (ROOT / folder).rglob("*.py")}
        # The built docs hold copies of the programs that their pages link to.
        written = {path.as_posix() for path in sources if not {"build", "_build"} & set(path.parts)}
        assert not written - names
    assert not [name for name in names if name.startswith(("build/", ".venv/", "docs/_build/"))]


def test_the_metadata_says_what_is_known_and_invents_nothing(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        (named,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        told = message_from_string(archive.read(named).decode())
        assert any(name.endswith("licenses/LICENSE") for name in archive.namelist())
    assert (told["Name"], told["Version"]) == ("flowgate-admission", PROJECT["version"])
    assert (told["License-Expression"], told["Requires-Python"]) == ("Apache-2.0", ">=3.11")
    assert told["Description-Content-Type"] == "text/markdown"
    for invented in "Author", "Author-email", "Maintainer", "Home-page", "Project-URL":
        assert told[invented] is None


def test_the_changelog_tells_of_this_version() -> None:
    assert f"\n## [{PROJECT['version']}] - " in (ROOT / "CHANGELOG.md").read_text("utf-8")
