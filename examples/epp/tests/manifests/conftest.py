"""The manifests, put together as kustomize does it, as far as the tests need it."""

from pathlib import Path

import attrs
import pytest
import yaml

MANIFESTS = Path(__file__).parents[2] / "manifests"
OVERLAYS = sorted(path.name for path in (MANIFESTS / "overlays").iterdir())


@attrs.define
class Overlay:
    """What an overlay is made of: each object as its file has it, and each generated ConfigMap's files."""

    name: str
    objects: list = attrs.field(factory=list)
    files: dict = attrs.field(factory=dict)
    kustomizations: list = attrs.field(factory=list)

    def read(self, folder):
        kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text("utf-8"))
        self.kustomizations.append(kustomization)
        for name in kustomization.get("resources", ()):
            path = folder / name
            if path.is_dir():
                self.read(path.resolve())
            else:
                self.objects += filter(None, yaml.safe_load_all(path.read_text("utf-8")))
        for name in kustomization.get("components", ()):
            self.read((folder / name).resolve())
        for each in kustomization.get("configMapGenerator", ()):
            files = {Path(file).name: folder / file for file in each["files"]}
            assert (each["name"] in self.files) == (each.get("behavior") == "replace")
            self.files[each["name"]] = files
        for patch in kustomization.get("patches", ()):
            for changed in yaml.safe_load_all((folder / patch["path"]).read_text("utf-8")):
                self.one(changed["kind"], changed["metadata"]["name"])["spec"] |= changed["spec"]

    def all(self, kind):
        return [each for each in self.objects if each["kind"] == kind]

    def one(self, kind, name):
        (found,) = [each for each in self.all(kind) if each["metadata"]["name"] == name]
        return found


@pytest.fixture(params=OVERLAYS)
def overlay(request):
    made = Overlay(request.param)
    made.read(MANIFESTS / "overlays" / request.param)
    return made


@pytest.fixture
def manifests():
    return MANIFESTS
