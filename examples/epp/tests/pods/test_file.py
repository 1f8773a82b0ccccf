"""Pods that a file lists."""

import asyncio
import json
import os
import shutil
from pathlib import Path

import pytest

from flowgate.configfile import ConfigError, load_record
from flowgate_epp.pods import FilePods
from flowgate_epp.pods._file import Content


def listing(*names):
    return {
        "pods": [{"name": name, "address": f"10.0.0.{index + 1}", "port": 8000} for index, name in enumerate(names)]
    }


def replace(path, content):
    """Write a file as it should be written: beside its place, and then into it."""
    text = content if isinstance(content, str) else json.dumps(content)
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text)
    os.replace(beside, path)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "pods.json"
    replace(path, listing("a"))
    return path


# So long that whatever a test sees in time was announced by the directory.
def never_polled(path):
    return FilePods(path=str(path), poll_interval=3600.0)


FORMATS = {
    "pods.json": '{"pods": [{"name": "a", "address": "fd00::1", "port": 8000, "labels": {"zone": "eu"}}]}',
    "pods.toml": '[[pods]]\nname = "a"\naddress = "fd00::1"\nport = 8000\nlabels = {zone = "eu"}\n',
    "pods.yaml": 'pods: [{name: a, address: "fd00::1", port: 8000, labels: {zone: eu}}]\n',
    "pods.YML": 'pods:\n- name: a\n  address: "[fd00::1]"\n  port: 8000\n  labels: {zone: eu}\n',
}


@pytest.mark.parametrize("name", FORMATS)
def test_it_reads_each_format(name, tmp_path, follow):
    """JSON, TOML and YAML say the same."""

    async def scenario():
        (tmp_path / name).write_text(FORMATS[name])
        async with follow(never_polled(tmp_path / name)) as followed:
            await followed.until(["a"])
            (pod,) = followed.store.pods
            assert (pod.endpoint, pod.namespace, pod.labels) == ("[fd00::1]:8000", "default", {"zone": "eu"})

    asyncio.run(scenario())


def test_it_follows_a_file_that_is_replaced(path, follow):
    """Change after change, down to none and up again, without a poll."""

    async def scenario():
        async with follow(never_polled(path)) as followed:
            for names in (["a", "b"], ["b"], [], ["a", "b", "c"]):
                replace(path, listing(*names))
                await followed.until(names)

    asyncio.run(scenario())


def test_it_follows_a_file_that_is_written_in_place(path, follow):
    """A half of it, read by chance, changes nothing; the whole is read when it is there."""

    async def scenario():
        async with follow(never_polled(path)) as followed:
            await followed.until(["a"])
            text = json.dumps(listing("a", "b"))
            with path.open("w") as file:
                file.write(text[:40])
                file.flush()
                file.write(text[40:])
            await followed.until(["a", "b"])
            assert followed.told == [["a"], ["a", "b"]]

    asyncio.run(scenario())


def test_it_follows_a_mounted_config_map(tmp_path, follow):
    """Where the file is a link into a directory to which another link points, and that link is replaced."""

    def mount(version, *names):
        (tmp_path / version).mkdir()
        (tmp_path / version / "pods.json").write_text(json.dumps(listing(*names)))
        os.symlink(version, tmp_path / "..data_tmp")
        os.replace(tmp_path / "..data_tmp", tmp_path / "..data")

    async def scenario():
        mount("..v1", "a")
        os.symlink("..data/pods.json", tmp_path / "pods.json")
        async with follow(never_polled(tmp_path / "pods.json")) as followed:
            await followed.until(["a"])
            mount("..v2", "a", "b")
            shutil.rmtree(tmp_path / "..v1")
            await followed.until(["a", "b"])

    asyncio.run(scenario())


def test_no_change_between_the_first_reading_and_the_watch_is_missed(path, follow):
    """The directory is watched before the file is read."""

    async def scenario():
        for names in (["a", "b"], ["c"]) * 10:
            async with follow(never_polled(path)) as followed:
                await asyncio.sleep(0)
                replace(path, listing(*names))
                await followed.until(names)

    asyncio.run(scenario())


def test_other_files_of_the_directory_do_not_matter(path, follow):
    """The same content announces nothing."""

    async def scenario():
        async with follow(never_polled(path)) as followed:
            await followed.until(["a"])
            for number in range(5):
                (path.parent / f"other-{number}").write_text("x")
            replace(path, path.read_text())
            replace(path, listing("a", "b"))
            await followed.until(["a", "b"])
            assert followed.told == [["a"], ["a", "b"]]

    asyncio.run(scenario())


WRONG = {
    "half a file": ('{"pods": [{"name": "a"', "Expecting ',' delimiter"),
    "no table": ("[1]", "the file must hold a table, not [1]"),
    "a wrong port": (
        json.dumps({"pods": [{"name": "a", "address": "10.0.0.1", "port": 70_000}]}),
        "pods[0].port: must lie in 1..65535, not 70000",
    ),
    "two pods at one endpoint": (
        json.dumps({"pods": [{"name": name, "address": "10.0.0.1", "port": 1} for name in "ab"]}),
        'must differ in address and port, but "a" and "b" are both at 10.0.0.1:1',
    ),
    "an unknown key": ('{"pod": []}', "unknown key"),
    "nothing": ("", "Expecting value"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_changes_nothing_and_is_logged_once(case, path, follow, logged, caplog):
    """With what is wrong; until it is well again, which is logged too."""
    content, message = WRONG[case]

    async def scenario():
        async with follow(FilePods(path=str(path), poll_interval=0.02)) as followed:
            await followed.until(["a"])
            replace(path, content)
            assert message in await logged(f"the pods of {path}: ")
            replace(path, f"{content} ")  # a change that mends nothing
            replace(path, listing("a", "b"))
            await followed.until(["a", "b"])
            await logged("well again")
            assert followed.told == [["a"], ["a", "b"]]
        lines = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert len(lines) == 1
        assert lines[0].endswith("; the pool stays as it is")

    asyncio.run(scenario())


def test_a_wrong_file_stays_wrong_however_often_it_is_read(path):
    """And is not parsed again."""
    replace(path, "{")
    content = Content(path)
    with pytest.raises(ValueError, match="Expecting") as first:
        content.read()
    with pytest.raises(ValueError, match="Expecting") as again:
        content.read()
    assert again.value is first.value


def test_a_wrong_file_that_becomes_the_good_one_again_is_well_again(path, follow, logged):
    """Also when its pods are those of before."""

    async def scenario():
        async with follow(never_polled(path)) as followed:
            await followed.until(["a"])
            replace(path, "wrong")
            await logged("Expecting value")
            replace(path, listing("a"))
            await logged("well again")
            assert followed.names == ["a"]

    asyncio.run(scenario())


def test_a_file_that_vanishes_leaves_the_pool(path, follow, logged):
    """No pods is what an empty list says. It is read again when it is back, even where it is the same."""

    async def scenario():
        async with follow(never_polled(path)) as followed:
            await followed.until(["a"])
            content = path.read_text()
            path.unlink()
            assert "cannot be read: No such file or directory" in await logged("the pods of")
            assert followed.names == ["a"]
            replace(path, content)
            await logged("well again")
            replace(path, listing())
            await followed.until([])

    asyncio.run(scenario())


def test_before_the_first_good_answer_it_tells_nothing(tmp_path, follow, logged):
    """The pool is not synced: the program is not ready."""

    async def scenario():
        path = tmp_path / "late" / "pods.json"
        async with follow(FilePods(path=str(path), poll_interval=0.02)) as followed:
            await logged("the pods of")
            await logged(f"changes in {path.parent}: ")
            assert not followed.store.is_synced
            path.parent.mkdir()
            replace(path, listing("a"))
            await followed.until(["a"])

    asyncio.run(scenario())


def test_a_directory_that_is_replaced_is_followed(tmp_path, follow):
    """By the poll, and from then on watched again: the next change is seen long before the next poll."""

    async def scenario():
        path = tmp_path / "etc" / "pods.json"
        path.parent.mkdir()
        replace(path, listing("a"))
        async with follow(FilePods(path=str(path), poll_interval=1.0)) as followed:
            await followed.until(["a"])
            path.parent.rename(tmp_path / "old")
            path.parent.mkdir()
            replace(path, listing("b"))
            await followed.until(["b"])
            for name in "cd":
                replace(path, listing(name))
                async with asyncio.timeout(0.7):
                    await followed.until([name])

    asyncio.run(scenario())


def test_a_link_to_elsewhere_is_read_by_the_poll(tmp_path, follow):
    """Nothing changes in the link's own directory."""

    async def scenario():
        (tmp_path / "data").mkdir()
        (tmp_path / "etc").mkdir()
        path = tmp_path / "etc" / "pods.json"
        path.symlink_to("../data/pods.json")
        replace(tmp_path / "data" / "pods.json", listing("a"))
        async with follow(FilePods(path=str(path), poll_interval=0.05)) as followed:
            await followed.until(["a"])
            replace(tmp_path / "data" / "pods.json", listing("b"))
            await followed.until(["b"])

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"path": "pods.txt"}, "path: must end with .json, .toml, .yaml or .yml, not 'pods.txt'"),
        ({"path": "pods.json", "poll_interval": 0}, "poll_interval: must be more than 0 seconds, not 0"),
        ({}, 'the key "path" is missing'),
    ],
)
def test_mistakes_of_its_configuration_name_value_and_rule(settings, message):
    """Before anything runs."""
    with pytest.raises(ConfigError) as caught:
        load_record(FilePods, settings)
    assert message in str(caught.value)


def test_it_is_chosen_by_path():
    """All else has a default."""
    assert load_record(FilePods, {"path": "pods.yaml"}) == FilePods(str(Path("pods.yaml")), poll_interval=5.0)


@pytest.mark.parametrize("suffix", [".json", ".toml", ".yaml"])
def test_a_file_that_is_nested_too_deeply_leaves_the_pool(suffix, tmp_path, follow, logged):
    """It is one wrong file more, and no end of the program."""

    async def scenario():
        path = tmp_path / f"pods{suffix}"
        deep = "[" * 10_000
        path.write_text({".json": deep, ".toml": f"pods={deep}", ".yaml": f"pods: {deep}"}[suffix])
        async with follow(never_polled(path)) as followed:
            assert "nested too deeply" in await logged(str(path))
            text = {".toml": '[[pods]]\nname="a"\naddress="10.0.0.1"\nport=80\n'}.get(suffix, json.dumps(listing("a")))
            path.with_suffix(".new").write_text(text)
            os.replace(path.with_suffix(".new"), path)
            await followed.until(["a"])

    asyncio.run(scenario())
