"""What these tests share: packages that register plug-ins, installed for one test."""

from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent

import pytest

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a distribution of one module, with entry points by group: as pip would leave it on the path."""

    def write(name: str, groups: Mapping[str, Mapping[str, str]], code: str = "", version: str = "1.0") -> None:
        site = tmp_path / f"site-{name}"
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", "utf-8")
        lines = [f"[{group}]\n" + "\n".join(f"{k} = {v}" for k, v in each.items()) for group, each in groups.items()]
        (info / "entry_points.txt").write_text("\n".join(lines), "utf-8")
        (site / f"{name.replace('-', '_')}.py").write_text(dedent(code), "utf-8")
        monkeypatch.syspath_prepend(str(site))

    return write
