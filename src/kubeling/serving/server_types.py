"""What model servers of other makers have to be told: MLServer, TorchServe, Triton, vLLM.

Source: ``SetRuntimeDefaults`` and ``UpdateImageTag`` of kserve. A runtime's annotation says which
server it runs, or its name, as upstream calls its own. Built-in runtimes have some of these names;
what they run is our own server, which needs none of this.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kubeling.kube.objects import Obj, mapping, name
from kubeling.serving.mounts import main_container
from kubeling.serving.names import OWN_IMAGE
from kubeling.serving.runtimes import Runtime

__all__ = ["image_of", "prepared"]

_ANNOTATION: Final = "serving.kserve.io/server-type"
_BY_NAME: Final[Mapping[str, str]] = {
    "kserve-mlserver": "mlserver",
    "kserve-torchserve": "torchserve",
    "kserve-tritonserver": "tritonserver",
    "kserve-tensorflow-serving": "tensorflow-serving",
    "kserve-huggingfaceserver": "huggingfaceserver",
    "kserve-vllmserver": "vllmserver",
}
_MLSERVER_CLASSES: Final[Mapping[str, str]] = {
    "xgboost": "mlserver_xgboost.XGBoostModel",
    "lightgbm": "mlserver_lightgbm.LightGBMModel",
    "mlflow": "mlserver_mlflow.MLflowRuntime",
}
_MLSERVER_CLASS: Final = "mlserver_sklearn.SKLearnModel"
_OF_TWO_BUILDS: Final = ("tensorflow-serving", "torchserve", "huggingfaceserver")
_GPU: Final = "nvidia.com/gpu"
_PART_OF_GPU: Final = "nvidia.com/mig-"
_MODELS: Final = "/mnt/models"


def prepared(isvc: Obj, runtime: Runtime) -> Obj:
    """The service with the labels, variables and arguments that the runtime's server needs."""
    match _server_type(runtime):
        case "mlserver":
            return _for_mlserver(isvc)
        case "torchserve":
            return _for_torchserve(isvc, runtime.protocol)
        case "tritonserver" if not _has_model(isvc):
            model = mapping(isvc["spec"]["predictor"].get("model"))
            arguments = [*(model.get("args") or ()), "--model-control-mode=explicit"]
            return _with(isvc, {}, {"args": arguments})
        case _:
            return isvc


def image_of(main: Obj, runtime: Runtime, version: str | None) -> str:
    """The image that serves: at a version, or the build for the processor that is asked for."""
    image = str(main.get("image") or "")
    if "@" in image:
        return image
    before, slash, last = image.rpartition("/")
    title, colon, tag = last.partition(":")
    if version:
        # Of ours the tag begins with the format, which it has to keep.
        own = f"{before}/{title}" == OWN_IMAGE
        return f"{image}-{version}" if own else f"{before}{slash}{title}:{version}"
    kind = _server_type(runtime)
    gpu = _asks_for_gpu(main)
    if gpu and kind in _OF_TWO_BUILDS and tag and not tag.endswith("-gpu"):
        return f"{image}-gpu"
    if not gpu and kind == "vllmserver" and tag and not title.endswith("-cpu"):
        return f"{before}{slash}{title}-cpu{colon}{tag}"
    return image


def _server_type(runtime: Runtime) -> str:
    if str(main_container(runtime.spec).get("image") or "").startswith(OWN_IMAGE):
        return ""
    return runtime.annotations.get(_ANNOTATION) or _BY_NAME.get(runtime.name, "")


def _asks_for_gpu(main: Obj) -> bool:
    limits = mapping(mapping(main.get("resources")).get("limits"))
    return any(key == _GPU or key.startswith(_PART_OF_GPU) for key in limits)


def _has_model(isvc: Obj) -> bool:
    model = mapping(isvc["spec"]["predictor"].get("model"))
    return bool(model.get("storageUri") or model.get("storage"))


def _for_mlserver(isvc: Obj) -> Obj:
    model = mapping(isvc["spec"]["predictor"].get("model"))
    given = {"MLSERVER_LOAD_MODELS_AT_STARTUP": "false"}
    if _has_model(isvc):
        given = {"MLSERVER_MODEL_NAME": name(isvc), "MLSERVER_MODEL_URI": _MODELS}
    kind = _MLSERVER_CLASSES.get(str(mapping(model.get("modelFormat")).get("name")))
    return _with(isvc, {"modelClass": kind or _MLSERVER_CLASS}, {"env": _env(model, given)})


def _for_torchserve(isvc: Obj, protocol: str) -> Obj:
    model = mapping(isvc["spec"]["predictor"].get("model"))
    envelope = "kservev2" if protocol in ("v2", "grpc-v2") else "kserve"
    env = _env(model, {"PROTOCOL_VERSION": protocol})
    return _with(isvc, {"serviceEnvelope": envelope}, {"env": env})


def _env(model: Obj, given: Mapping[str, str]) -> list[Obj]:
    """The model's variables, and those given that it does not have."""
    own = model.get("env") or []
    named = {variable["name"] for variable in own}
    return [*own, *({"name": k, "value": v} for k, v in given.items() if k not in named)]


def _with(isvc: Obj, labels: Mapping[str, str], fields: Obj) -> Obj:
    predictor = isvc["spec"]["predictor"]
    metadata = isvc["metadata"]
    return {
        **isvc,
        "metadata": {**metadata, "labels": {**(metadata.get("labels") or {}), **labels}},
        "spec": {
            **isvc["spec"],
            "predictor": {**predictor, "model": {**predictor["model"], **fields}},
        },
    }
