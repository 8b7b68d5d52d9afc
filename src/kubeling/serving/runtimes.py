"""Serving runtimes: the built-in ones, and which of them serves a given model.

The rules of selection are upstream's: a named runtime must fit; otherwise those of the namespace
win over those of the cluster, then protocol, priority, age and name decide. One thing is kinder: a
version such as ``1.0`` also finds a runtime that states only ``1``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kubeling.kube import objects
from kubeling.kube.objects import Obj, name, new_object
from kubeling.serving.names import CONVERT_TO_ONNX
from kubeling.serving.resources import CLUSTER_SERVING_RUNTIMES

__all__ = [
    "Runtime",
    "RuntimeNotFound",
    "builtin_runtimes",
    "fitting_runtimes",
    "misfit",
    "select_runtime",
]

_PROTOCOLS: Final = ("v1", "v2", "grpc-v1", "grpc-v2")


class RuntimeNotFound(Exception):
    """No runtime fits; ``reason`` is upstream's word for why."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Runtime:
    """A runtime chosen for a model."""

    name: str
    kind: str
    spec: Obj
    protocol: str
    why: str = ""
    """Why it and no other, in words."""
    annotations: Mapping[str, str] = field(default_factory=dict)


def select_runtime(model: Obj, namespaced: Sequence[Obj], cluster: Sequence[Obj]) -> Runtime:
    """The runtime that serves ``spec.predictor.model``; raises :class:`RuntimeNotFound`."""
    protocol = model.get("protocolVersion") or ""
    if wanted := model.get("runtime"):
        return _named(wanted, model, protocol, namespaced, cluster)
    for group in (namespaced, cluster):
        fitting = fitting_runtimes(model, group)
        if fitting:
            return _chosen(fitting[0], protocol, _why_first(fitting, model))
    raise RuntimeNotFound("NoSupportingRuntime", _nothing_fits(model, protocol, cluster))


def fitting_runtimes(model: Obj, group: Sequence[Obj]) -> list[Obj]:
    """Those of the namespace's or the cluster's that may be chosen, in the order of choice."""
    protocol = model.get("protocolVersion") or ""
    fitting = [r for r in group if not misfit(r, model, protocol or "v1", auto_select=True)]
    if not fitting and not protocol:
        fitting = [r for r in group if not misfit(r, model, "", auto_select=True)]
    return sorted(fitting, key=lambda r: _rank(r, model))


def _why_first(fitting: Sequence[Obj], model: Obj) -> str:
    """Why the first comes before the second."""
    if len(fitting) == 1:
        return "no other runtime there fits"
    first, second = (_rank(runtime, model) for runtime in fitting[:2])
    other = name(fitting[1])
    if first[0] != second[0]:
        return f"its priority {-first[0]} is above {-second[0]} of {other}"
    if first[1] != second[1]:
        return f"it speaks a simpler protocol than {other}"
    return f"it is newer than {other}" if first[2] != second[2] else f"its name is before {other}"


def _named(
    wanted: str, model: Obj, protocol: str, namespaced: Sequence[Obj], cluster: Sequence[Obj]
) -> Runtime:
    found = next((r for r in [*namespaced, *cluster] if name(r) == wanted), None)
    if found is None:
        known = ", ".join(sorted(name(r) for r in [*namespaced, *cluster])) or "none"
        raise RuntimeNotFound(
            "RuntimeNotRecognized",
            f'spec.predictor.model.runtime: no ServingRuntime or ClusterServingRuntime "{wanted}"; '
            f"there are: {known}",
        )
    if found["spec"].get("disabled"):
        raise RuntimeNotFound(
            "RuntimeDisabled", f'runtime "{wanted}" is disabled; set spec.disabled to false'
        )
    if misfit(found, model, protocol, auto_select=False):
        raise RuntimeNotFound(
            "NoSupportingRuntime",
            f'runtime "{wanted}" does not serve {_format_text(model)}'
            + (f" over {protocol}" if protocol else "")
            + f"; it serves {', '.join(_offered([found]))}",
        )
    return _chosen(found, protocol, "spec.predictor.model.runtime names it")


def _chosen(runtime: Obj, protocol: str, why: str) -> Runtime:
    offered = runtime["spec"].get("protocolVersions") or ["v1"]
    lowest = min(offered, key=_protocol_rank)
    chosen = protocol or ("v1" if "v1" in offered else lowest)
    return Runtime(
        name(runtime), runtime["kind"], runtime["spec"], chosen, why, objects.annotations(runtime)
    )


def misfit(runtime: Obj, model: Obj, protocol: str, *, auto_select: bool) -> str:
    """Why a runtime cannot serve a model; empty if it can."""
    spec = runtime["spec"]
    if spec.get("disabled"):
        return "it is disabled"
    if spec.get("multiModel"):
        return "it is for ModelMesh (multiModel)"
    if spec.get("workerSpec") is not None:
        return "it is for models over several nodes (workerSpec)"
    offered = spec.get("protocolVersions")
    if protocol and offered and protocol not in offered:
        return f"it speaks {', '.join(offered)}, not {protocol}"
    fitting = [e for e in spec.get("supportedModelFormats") or () if _format_fits(e, model)]
    if not fitting:
        return f"it serves {', '.join(_offered([runtime])) or 'no format'}"
    if auto_select and not any(entry.get("autoSelect") for entry in fitting):
        return "it is chosen only where spec.predictor.model.runtime names it (autoSelect is off)"
    return ""


def _format_fits(entry: Obj, model: Obj) -> bool:
    wanted = model["modelFormat"]
    if entry["name"] != wanted["name"]:
        return False
    version, stated = str(wanted.get("version") or ""), str(entry.get("version") or "")
    return not version or version == stated or version.partition(".")[0] == stated


def _rank(runtime: Obj, model: Obj) -> tuple[int, int, str, str]:
    spec = runtime["spec"]
    priority = max(
        (e.get("priority") or 0 for e in spec["supportedModelFormats"] if _format_fits(e, model)),
        default=0,
    )
    lowest = min(map(_protocol_rank, spec.get("protocolVersions") or ()), default=len(_PROTOCOLS))
    created = str(runtime["metadata"].get("creationTimestamp") or "")
    return -priority, lowest, _newest_first(created), name(runtime)


def _newest_first(text: str) -> str:
    return "".join(chr(0x10FF - ord(c)) for c in text)


def _protocol_rank(protocol: str) -> int:
    return _PROTOCOLS.index(protocol) if protocol in _PROTOCOLS else len(_PROTOCOLS)


def _format_text(model: Obj) -> str:
    wanted = model["modelFormat"]
    version = wanted.get("version")
    return f'model format "{wanted["name"]}"' + (f' version "{version}"' if version else "")


def _offered(runtimes: Iterable[Obj]) -> list[str]:
    return sorted(
        {
            entry["name"] + (f" {entry['version']}" if entry.get("version") else "")
            for runtime in runtimes
            for entry in runtime["spec"].get("supportedModelFormats") or ()
        }
    )


def _nothing_fits(model: Obj, protocol: str, cluster: Sequence[Obj]) -> str:
    over = f" over {protocol}" if protocol else ""
    offered = ", ".join(_offered(cluster)) or "none"
    return (
        f"no runtime serves {_format_text(model)}{over}; formats served here: {offered}. "
        "Add a ServingRuntime, or serve it from spec.predictor.containers"
    )


_CONVERTED: Final = ("sklearn", "xgboost", "lightgbm")
_ASKED_FOR: Final = "{{.Annotations.modelFormat}}"
"""The service's own format, for runtimes of several; admission notes it."""
_TABULAR: Final = {"sklearn": ["1"], "xgboost": ["1", "2", "3"], "lightgbm": ["3", "4"]}


def _runtime(label: str, format_name: str, versions: Sequence[str], **env: str) -> Obj:
    container: dict[str, Any] = {
        "name": "kserve-container",
        "image": f"kubeling/model-server:{format_name}",
        "command": ["python", "-m", "kubeling.serving.server"],
        "args": [
            "--model_name={{.Name}}",
            "--model_dir=/mnt/models",
            f"--format={format_name}",
            "--http_port=8080",
        ],
        # Small enough for a laptop, and a share of it is what autoscaling by CPU measures.
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
        "ports": [{"name": "http1", "containerPort": 8080, "protocol": "TCP"}],
        "readinessProbe": {
            "httpGet": {"path": "/v2/health/ready", "port": 8080},
            "periodSeconds": 1,
            "failureThreshold": 3,
        },
    }
    if format_name in (*_CONVERTED, _ASKED_FOR):
        # The service's annotation, which may be absent, turns it off.
        switch = f"{{{{.Annotations.{CONVERT_TO_ONNX}}}}}"
        container["args"].append(f"--convert_to_onnx={switch}")
    if env:
        container["env"] = [{"name": key, "value": value} for key, value in env.items()]
    formats = [
        {"name": format_name, "version": version, "autoSelect": True, "priority": 1}
        for version in versions
    ]
    return new_object(
        CLUSTER_SERVING_RUNTIMES,
        label,
        spec={
            "supportedModelFormats": formats,
            "protocolVersions": ["v1", "v2"],
            "containers": [container],
        },
    )


def _runtime_of_several(label: str, **formats: Sequence[str]) -> Obj:
    """A runtime that upstream has for several formats; it serves these to those that name it."""
    made = _runtime(label, _ASKED_FOR, ())
    made["spec"]["supportedModelFormats"] = [
        {"name": title, "version": version, "autoSelect": title not in _TABULAR, "priority": 1}
        for title, versions in formats.items()
        for version in versions
    ]
    return made


def _vllm_runtime(label: str) -> Obj:
    """Upstream's for ``vLLM``, whose model may be one of the Hub's that a flag names."""
    made = _runtime(label, "huggingface", ())
    spec = made["spec"]
    spec["supportedModelFormats"] = [
        {"name": "vLLM", "version": "1", "autoSelect": True, "priority": 1}
    ]
    spec["containers"][0] |= {
        "command": ["python", "-m", "kubeling.serving.server.vllm"],
        "args": ["--port=8080", "--served-model-name={{.Name}}", "--model=/mnt/models"],
    }
    del spec["protocolVersions"]
    return made


def builtin_runtimes() -> list[Obj]:
    """The runtimes every installation has, under upstream's names where it has them."""
    return [
        _runtime("kserve-sklearnserver", "sklearn", ["1"], OMP_NUM_THREADS="1"),
        _runtime("kserve-xgbserver", "xgboost", ["1", "2", "3"]),
        _runtime("kserve-lgbserver", "lightgbm", ["3", "4"]),
        _runtime("kserve-tensorflow-serving", "tensorflow", ["1", "2"]),
        _runtime("kserve-torchserve", "pytorch", ["1", "2"]),
        _runtime_of_several("kserve-mlserver", **_TABULAR, mlflow=["1", "2", "3"]),
        _runtime_of_several("kserve-predictiveserver", **_TABULAR),
        _runtime("kserve-huggingfaceserver", "huggingface", ["1"]),
        _vllm_runtime("kserve-vllmserver"),
        _runtime("kserve-pmmlserver", "pmml", ["3", "4"]),
        _runtime("kserve-paddleserver", "paddle", ["2", "3"]),
        _runtime("kubeling-onnxserver", "onnx", ["1"]),
        _runtime("kubeling-catboostserver", "catboost", ["1"]),
    ]
