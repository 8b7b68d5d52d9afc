"""Which of KServe's end-to-end tests cannot run on one machine without the internet, and why."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Final

__all__ = ["skipped"]

_SKIPPED_UPSTREAM: Final = "is skipped upstream"
_LLM: Final = "needs vLLM and the Gateway API's inference extension"
_KEDA: Final = "reads the objects of KEDA"
_KNATIVE: Final = "reads the objects of Knative"
_OCI: Final = "needs a registry with an image of a model"
_SKIPPED: Final = {
    "custom/test_ray.py::*": "needs Ray",
    "graph/*::test_inference_graph_raw_mode*": "reads the Deployment of a graph: there is none",
    "llmisvc/test_llm_autoscaling_*": "reads the objects of KEDA and of the workload autoscaler",
    "llmisvc/test_llm_canary_lifecycle.py::*": "splits requests between services of a group",
    "llmisvc/test_llm_inference_service.py::*": "needs an Endpoint Picker and several nodes, too",
    "llmisvc/test_llm_inference_service_config_deletion.py::test_well_known_*": (
        "differs on purpose: the built-in configurations are no objects"
    ),
    "llmisvc/test_llm_inference_service_conversion.py::*criticality*": (
        "differs on purpose: both versions have criticality, so it needs no annotation"
    ),
    "llmisvc/test_llm_inference_service_stop.py::*": "needs an Endpoint Picker",
    "llmisvc/test_llm_lora_adapters.py::*": "loads adapters",
    "llmisvc/test_prestop_hook.py::*": (
        "differs on purpose: pods end at once, as the gateway sends them nothing any more"
    ),
    "llmisvc/test_rolling_upgrade.py::*": "needs llm-d's simulator",
    "llmisvc/test_llm_tracing.py::*": "reads spans from Jaeger",
    "llmisvc/test_flow_control.py::*": "needs an Endpoint Picker",
    "llmisvc/test_gateway_section_name.py::*": "reads an HTTPRoute and a Gateway",
    "llmisvc/test_storage_version_migration.py::*": "restarts the Deployment of the controller",
    "logger/test_raw_logger.py::test_kserve_logger_cipn": "is for Services without an address",
    "modelcache/*llmisvc*": _LLM,
    "modelcache/*": "needs the nodes of a minikube",
    "predictor/test_autogluon*": "downloads models of AutoGluon",
    "predictor/test_autoscaling.py::test_sklearn_kserve_cpu": "is skipped upstream",
    "predictor/test_autoscaling.py::test_sklearn_kserve_*": _KNATIVE,
    "predictor/test_autoscaling.py::*_update": "reads the only Deployment: here revisions have one",
    "predictor/test_autoscaling.py::*keda*": _KEDA,
    "predictor/test_canary.py::*": "gives TF Serving 256Mi, which TensorFlow in Python needs twice",
    "predictor/test_grpc.py::test_custom_model_grpc": "wants requests over gRPC logged: refused",
    "predictor/test_modelscope.py::*": "is skipped upstream",
    "predictor/test_sklearn.py::test_sklearn_runtime_kserve": (
        "counts processes that Python's multiprocessing spawned"
    ),
    "predictor/test_vllm.py::test_vllm_openai_chat*": _SKIPPED_UPSTREAM,
    "predictor/test_vllm.py::test_vllm_openai_text_completion*": _SKIPPED_UPSTREAM,
    "qpext/*": "needs Knative's queue proxy",
    "storage/test_oci_*": _OCI,
}


def skipped(file: str, test: str) -> str:
    """Why a test is not run; empty if it is."""
    name = f"{file}::{test}"
    return next((why for pattern, why in _SKIPPED.items() if fnmatchcase(name, pattern)), "")
