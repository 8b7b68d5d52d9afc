"""What image names stand for."""

from pathlib import Path

import pytest

from kubeling.engine.building import PullError
from kubeling.engine.environments import Environments
from kubeling.engine.images import (
    Catalogue,
    ImageEntry,
    PythonEnvironment,
    UnknownImage,
    repository,
)


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    return Catalogue(tmp_path / "images.yaml", {})


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("python:3.11", "python"),
        ("docker.io/library/busybox@sha256:00", "busybox"),
        ("localhost:5000/team/model:v1", "localhost:5000/team/model"),
        ("quay.io/jupyter/base-notebook", "quay.io/jupyter/base-notebook"),
    ],
)
def test_tags_digests_and_the_default_registry_do_not_matter(image: str, name: str) -> None:
    assert repository(image) == name


@pytest.mark.parametrize(
    ("image", "requirement"),
    [
        ("tensorflow/tensorflow:latest", "tensorflow-cpu"),
        ("jupyter/tensorflow-notebook", "jupyterlab"),
        ("jupyter/tensorflow-notebook", "tensorflow-cpu"),
        ("quay.io/jupyter/scipy-notebook:2026", "jupyterlab"),
        ("quay.io/jupyter/scipy-notebook:2026", "pandas"),
        ("jupyter/pytorch-notebook", "torch"),
        ("quay.io/jupyter/minimal-notebook", "jupyterlab"),
        ("pytorch/pytorch:2.4", "torch"),
        ("kubeling/model-server:lightgbm", "lightgbm"),
        ("kubeling/model-server:lightgbm-v0.15", "lightgbm"),
        ("registry.baidubce.com/paddlepaddle/paddle:2.4.0rc0-cpu", "paddlepaddle"),
    ],
)
def test_well_known_images_are_python_environments(
    catalogue: Catalogue, image: str, requirement: str
) -> None:
    python = catalogue.find(image).python
    assert python is not None
    assert requirement in [needed.partition(";")[0] for needed in python.requirements]


@pytest.mark.parametrize(
    "image", ["busybox", "alpine:3.20", "ubuntu:24.04", "docker/whalesay", "argoproj/argosay:v2"]
)
def test_shell_images_are_the_machine_s_own_tools(catalogue: Catalogue, image: str) -> None:
    assert catalogue.find(image).host


def test_an_unknown_image_is_refused_with_what_to_write(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    with pytest.raises(UnknownImage, match="is not in the catalogue") as refused:
        catalogue.find("example.com/mine:1")
    assert f"say what it stands for in {tmp_path / 'images.yaml'}" in refused.value.advice


def test_the_configuration_wins_over_the_file_and_both_over_the_catalogue(tmp_path: Path) -> None:
    file = tmp_path / "images.yaml"
    file.write_text("images:\n  python: {host: true, cmd: [a]}\n  mine*: {host: true, cmd: [b]}\n")
    found = Catalogue(file, {"mine": {"host": True, "cmd": ["c"]}})
    assert found.find("python:3").cmd == ("a",)
    assert found.find("mine-too").cmd == ("b",)
    assert found.find("mine").cmd == ("c",)


def test_an_entry_for_the_image_itself_says_nothing_else(tmp_path: Path) -> None:
    assert Catalogue(tmp_path / "none", {"mine": {"container": True}}).find("mine:2").container
    with pytest.raises(ValueError, match="mine: container: true leaves nothing else to say"):
        Catalogue(tmp_path / "none", {"mine": {"container": True, "host": True}})


def test_a_container_s_command_replaces_the_image_s() -> None:
    entry = ImageEntry(entrypoint=("run",), cmd=("default",))
    assert entry.command({}) == ["run", "default"]
    assert entry.command({"args": ["x"]}) == ["run", "x"]
    assert entry.command({"command": ["y"]}) == ["y"]
    assert entry.command({"command": ["y"], "args": ["x"]}) == ["y", "x"]


def test_the_platform_s_own_interpreter_is_used_where_it_will_do(tmp_path: Path) -> None:
    environments = Environments(tmp_path, tmp_path)
    satisfied = PythonEnvironment(("msgspec>=0.19",))
    assert environments.ready(ImageEntry(python=satisfied)) is not None
    missing = PythonEnvironment(("msgspec>=999",))
    assert environments.ready(ImageEntry(python=missing)) is None


async def test_what_cannot_be_installed_says_why(tmp_path: Path) -> None:
    broken = PythonEnvironment((str(tmp_path / "no-such-package"),))
    with pytest.raises(PullError, match="no-such-package"):
        await Environments(tmp_path / "envs", tmp_path).prepare(ImageEntry(python=broken))


async def test_an_environment_is_prepared_once_and_has_pip(tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "pyproject.toml").write_text(
        '[project]\nname = "tiny"\nversion = "1"\n[build-system]\nrequires = []\n'
        'build-backend = "backend"\nbackend-path = ["."]\n'
    )
    (tmp_path / "pkg" / "backend.py").write_text(BACKEND)
    environments = Environments(tmp_path / "envs", tmp_path)
    entry = ImageEntry(python=PythonEnvironment((str(tmp_path / "pkg"),)))
    first = await environments.prepare(entry)
    assert await environments.prepare(entry) == first
    assert {"python", "pip"} <= {file.name for file in first.path[0].iterdir()}
    assert "tiny" in str(list(first.path[0].parent.glob("lib/*/site-packages/tiny*")))


BACKEND = """
import zipfile
def build_wheel(folder, config_settings=None, metadata_directory=None):
    name = "tiny-1-py3-none-any.whl"
    with zipfile.ZipFile(folder + "/" + name, "w") as wheel:
        info = "tiny-1.dist-info/"
        wheel.writestr("tiny.py", "")
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: tiny\\nVersion: 1\\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nGenerator: x\\n"
                       "Root-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(info + "RECORD", "tiny.py,,\\n")
    return name
"""
