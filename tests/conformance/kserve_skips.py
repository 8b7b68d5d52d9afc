"""Which of KServe's end-to-end tests cannot run on one machine without the internet, and why."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Final

__all__ = ["skipped"]

_HUB: Final = "downloads a language model"
_LLM: Final = "needs vLLM and the Gateway API's inference extension"
_KEDA: Final = "reads the objects of KEDA"
_KNATIVE: Final = "reads the objects of Knative"
_OCI: Final = "needs a registry with an image of a model"
_TENSORFLOW: Final = "needs a network of TensorFlow's for pictures"
_TORCHSERVE: Final = "needs TorchServe's handlers of pictures"
_SKIPPED: Final = {
    "custom/test_ray.py::*": "needs Ray",
    "graph/*::test_inference_graph_raw_mode*": "reads the Deployment of a graph: there is none",
    "explainer/*": "needs the Adversarial Robustness Toolbox",
    "llmisvc/*": _LLM,
    "logger/test_raw_logger.py::test_kserve_logger_cipn": "is for Services without an address",
    "modelcache/*llmisvc*": _LLM,
    "modelcache/*": "needs the nodes of a minikube",
    "predictor/test_autogluon*": "downloads models of AutoGluon",
    "predictor/test_autoscaling.py::test_sklearn_kserve_cpu": "is skipped upstream",
    "predictor/test_autoscaling.py::test_sklearn_kserve_*": _KNATIVE,
    "predictor/test_autoscaling.py::*_update": "reads the only Deployment: here revisions have one",
    "predictor/test_autoscaling.py::*keda*": _KEDA,
    "predictor/test_grpc.py::test_custom_model_grpc": "wants requests over gRPC logged: refused",
    "predictor/test_huggingface*": _HUB,
    "predictor/test_modelscope.py::*": "is skipped upstream",
    "predictor/test_canary.py::*": _TENSORFLOW,
    "predictor/test_paddle.py::*": "needs a network of Paddle's for pictures",
    "predictor/test_tensorflow.py::*": _TENSORFLOW,
    "predictor/test_sklearn.py::test_sklearn_runtime_kserve": (
        "counts processes that Python's multiprocessing spawned"
    ),
    "predictor/test_torchserve.py::*": _TORCHSERVE,
    "predictor/test_triton.py::*": "needs Triton",
    "predictor/test_vllm.py::*": _HUB,
    "qpext/*": "needs Knative's queue proxy",
    "storage/test_oci_*": _OCI,
    "transformer/*": _TORCHSERVE,
}


def skipped(file: str, test: str) -> str:
    """Why a test is not run; empty if it is."""
    name = f"{file}::{test}"
    return next((why for pattern, why in _SKIPPED.items() if fnmatchcase(name, pattern)), "")
