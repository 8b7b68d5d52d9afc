"""Models that are images, ``oci://registry/name:tag``: mounted where the SDK looks for them. Pure.

Upstream runs a container of the image beside the step and follows its root through ``/proc``; a
volume of kind ``image`` is made for it. A node that has none (the embedded one) says so.
"""

from __future__ import annotations

from typing import Final

from kubeling.kube.objects import Obj
from kubeling.pipelines.nodes import Inputs

__all__ = ["add_model_images", "is_model_image", "model_folder"]

_SCHEME: Final = "oci://"


def is_model_image(uri: str) -> bool:
    """Whether an artifact is an image."""
    return uri.startswith(_SCHEME)


def model_folder(uri: str) -> str:
    """Where the image's files are; the model is in its folder ``models``."""
    return "/oci/" + uri.removeprefix(_SCHEME).replace("/", "_")


def add_model_images(spec: Obj, inputs: Inputs) -> None:
    """Mounts the images among a step's inputs."""
    uris = [a.uri for found in inputs.artifacts.values() for a in found if is_model_image(a.uri)]
    for number, uri in enumerate(dict.fromkeys(uris)):
        name = f"model-{number}"
        image = {"reference": uri.removeprefix(_SCHEME), "pullPolicy": "IfNotPresent"}
        spec["volumes"] = [*(spec.get("volumes") or ()), {"name": name, "image": image}]
        mount = {"name": name, "mountPath": model_folder(uri), "readOnly": True}
        container = spec["containers"][0]
        container["volumeMounts"] = [*(container.get("volumeMounts") or ()), mount]
