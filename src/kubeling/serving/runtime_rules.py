"""What is refused in a ServingRuntime or ClusterServingRuntime.

Upstream also refuses two runtimes that give one format and protocol the same priority; which of
them would be chosen is settled by age and name all the same, so that is not an error here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kubeling.kube.admission import AdmissionRequest
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj, mapping, mappings
from kubeling.serving.component_rules import validate_env
from kubeling.serving.mounts import MAIN_CONTAINER

__all__ = ["validate_runtime"]

_SIZES: Final = {
    "PIPELINE_PARALLEL_SIZE": "pipelineParallelSize",
    "TENSOR_PARALLEL_SIZE": "tensorParallelSize",
}


def validate_runtime(obj: Obj, old: Obj | None, _: AdmissionRequest) -> Iterator[FieldError]:
    """Names what is wrong with a runtime; one that is disabled may be anything."""
    spec = mapping(obj.get("spec"))
    if spec.get("disabled"):
        return
    if not mappings(spec.get("containers")):
        yield FieldError(
            "spec.containers", "Required value", "name the image that serves, e.g. kserve-container"
        )
    priorities: dict[str, object] = {}
    for index, entry in enumerate(mappings(spec.get("supportedModelFormats"))):
        title, priority = str(entry.get("name") or ""), entry.get("priority")
        where = f"spec.supportedModelFormats[{index}].priority"
        if isinstance(priority, int) and priority < 1:
            yield FieldError(where, "Invalid value", "must be at least 1", priority)
        if not entry.get("autoSelect") or priority is None:
            continue
        if priorities.setdefault(title, priority) != priority:
            yield FieldError(
                where,
                "Invalid value",
                f"another version of {title} has the priority {priorities[title]} here; a runtime "
                "gives a format one priority",
                priority,
            )
    for index, container in enumerate(mappings(spec.get("containers"))):
        yield from validate_env(f"spec.containers[{index}]", container)
    if (workers := spec.get("workerSpec")) is not None:
        yield from _validate_workers(spec, mapping(workers))
    if (
        old is not None
        and mapping(old.get("spec")).get("workerSpec")
        and not spec.get("workerSpec")
    ):
        yield FieldError("spec.workerSpec", "Forbidden", "may not be removed from a runtime")


def _validate_workers(spec: Obj, workers: Obj) -> Iterator[FieldError]:
    containers = mappings(workers.get("containers"))
    if len(containers) != 1:
        yield FieldError(
            "spec.workerSpec.containers", "Invalid value", "must be one", len(containers)
        )
    for index, container in enumerate(containers):
        yield from validate_env(f"spec.workerSpec.containers[{index}]", container)
    for field in ("pipelineParallelSize", "tensorParallelSize"):
        size = workers.get(field)
        if isinstance(size, int) and size < 1:
            yield FieldError(
                f"spec.workerSpec.{field}", "Invalid value", "must be at least 1", size
            )
    for index, container in enumerate(mappings(spec.get("containers"))):
        for number, variable in enumerate(mappings(container.get("env"))):
            said = _SIZES.get(str(variable.get("name")))
            if container.get("name") == MAIN_CONTAINER and said is not None:
                where = f"spec.containers[{index}].env[{number}].name"
                yield FieldError(where, "Forbidden", f"say it by spec.workerSpec.{said}")
