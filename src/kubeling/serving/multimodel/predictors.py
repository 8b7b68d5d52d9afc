"""Which predictors serve many models, and what is added to their pods."""

from __future__ import annotations

from typing import Final

from kubeling.kube.objects import Obj, mapping, mappings
from kubeling.serving.credentials import Access
from kubeling.serving.mounts import main_container

__all__ = ["AGENT", "add_agent", "config_name", "has_agent", "is_multi_model"]

_MODELS: Final = "/mnt/models"
_CONFIGS: Final = "/mnt/configs"
_SERVER: Final = "kubeling.serving.server"
AGENT: Final = "agent"
_NAMING: Final = "--model_id"
_SWITCH: Final = "MULTI_MODEL_SERVER"


def config_name(isvc: str) -> str:
    """The ConfigMap that lists a service's models; upstream numbers them and makes one."""
    return f"modelconfig-{isvc}-0"


def is_multi_model(predictor: Obj, pod: Obj) -> bool:
    """Whether TrainedModels are served: no model is named, and the server takes them.

    That is upstream's ``IsMMSPredictor``, with less taken for granted: the built-in server takes
    models, others say so by the variable ``MULTI_MODEL_SERVER: "true"``. A server with a model in
    its image is left alone, and so is one whose model the user mounts or a flag names.
    """
    main = main_container(pod)
    declared = any(
        variable.get("name") == _SWITCH and variable.get("value") == "true"
        for variable in mappings(main.get("env"))
    )
    if not declared and _SERVER not in (main.get("command") or ()):
        return False
    model = mapping(predictor.get("model"))
    named = model.get("storageUri") or model.get("storage") or predictor.get("storageUris")
    mounts = mappings(model.get("volumeMounts"))
    env = mappings(model.get("env"))
    return not (
        named
        or any(str(word).startswith(_NAMING) for word in main.get("args") or ())
        or any(str(mount.get("mountPath")).startswith(_MODELS) for mount in mounts)
        or any(variable.get("name") == "STORAGE_URI" for variable in env)
    )


def has_agent(deployment: Obj) -> bool:
    """Whether the pods of a Deployment have the agent."""
    containers = deployment["spec"]["template"]["spec"]["containers"]
    return any(container.get("name") == AGENT for container in containers)


def add_agent(pod: Obj, isvc_name: str, access: Access) -> None:
    """Adds the agent beside the server, and starts the built-in server without a model."""
    main = main_container(pod)
    main["command"] = [
        "kubeling.serving.multimodel" if word == _SERVER else word
        for word in main.get("command") or ()
    ]
    if not main["command"]:
        del main["command"]
    port = (main.get("ports") or [{"containerPort": 8080}])[0]["containerPort"]
    main["volumeMounts"] = [
        *(main.get("volumeMounts") or ()),
        {"name": "models", "mountPath": _MODELS, "readOnly": True},
    ]
    listed = {"name": config_name(isvc_name), "optional": True}
    pod["volumes"] = [
        *(pod.get("volumes") or ()),
        *access.volumes,
        {"name": "models", "emptyDir": {}},
        {"name": "model-config", "configMap": listed},
    ]
    pod["containers"].append(
        {
            "name": AGENT,
            "image": "kubeling/model-agent",
            "command": ["python", "-m", "kubeling.serving.multimodel.agent"],
            "args": [
                f"--config={_CONFIGS}/models.json",
                f"--models={_MODELS}",
                f"--server=http://$(POD_IP):{port}",
            ],
            "env": [
                {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                *access.env,
            ],
            "volumeMounts": [
                {"name": "models", "mountPath": _MODELS},
                {"name": "model-config", "mountPath": _CONFIGS, "readOnly": True},
                *access.mounts,
            ],
        }
    )
