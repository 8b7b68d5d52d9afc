"""Packages that a pod declares become part of its containers' environment."""

import pytest

from kubeling.engine.images import ImageEntry, PythonEnvironment, with_declared_packages
from kubeling.kube.objects import Obj

PYTHON = ImageEntry(python=PythonEnvironment(("numpy",)))


def pod(text: str) -> Obj:
    return {"metadata": {"name": "p", "annotations": {"kubeling.io/python-packages": text}}}


def test_they_add_to_the_images_own() -> None:
    declared = '{"main": {"requirements": ["pandas>=2"], "bare": ["kfp==2.17.3"]}}'
    entry = with_declared_packages(PYTHON, pod(declared), "main")
    assert entry.python == PythonEnvironment(("numpy", "pandas>=2"), bare=("kfp==2.17.3",))
    assert entry.env == {"KUBELING_PACKAGES_READY": "true"}


def test_other_containers_and_images_without_python_are_left_alone() -> None:
    declared = pod('{"main": {"requirements": ["pandas"]}}')
    assert with_declared_packages(PYTHON, declared, "sidecar") is PYTHON
    host = ImageEntry(host=True)
    assert with_declared_packages(host, declared, "main") is host


def test_a_declaration_that_cannot_be_read_says_where() -> None:
    with pytest.raises(ValueError, match=r"annotation kubeling\.io/python-packages"):
        with_declared_packages(PYTHON, pod("[]"), "main")
