"""What is refused in a ServingRuntime or ClusterServingRuntime.

Upstream also refuses two runtimes that give one format and protocol the same priority; which of
them would be chosen is settled by age and name all the same, so that is not an error here.
"""

from __future__ import annotations

from collections.abc import Iterator

from kubeling.kube.admission import AdmissionRequest
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj, mapping, mappings

__all__ = ["validate_runtime"]


def validate_runtime(obj: Obj, old: Obj | None, _: AdmissionRequest) -> Iterator[FieldError]:
    """Names what is wrong with a runtime."""
    spec = mapping(obj.get("spec"))
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
    if (
        old is not None
        and mapping(old.get("spec")).get("workerSpec")
        and not spec.get("workerSpec")
    ):
        yield FieldError("spec.workerSpec", "Forbidden", "may not be removed from a runtime")
