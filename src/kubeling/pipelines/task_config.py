"""A task's settings for a workload that it starts itself, as ``dsl.TaskConfig`` hands them on.

A component that takes a ``TASK_CONFIG`` says which settings are passed to it; those are on its own
pod only if it says that, too. Upstream: ``getTaskConfigOptions`` in its driver. Pure.
"""

from __future__ import annotations

from typing import Any, Final

from kubeling.kube.objects import Obj
from kubeling.pipelines.ir import ComponentSpec

__all__ = ["take_task_config"]

_PARTS: Final = {
    "RESOURCES": (("container", "resources"),),
    "ENV": (("container", "env"),),
    "KUBERNETES_AFFINITY": (("spec", "affinity"),),
    "KUBERNETES_TOLERATIONS": (("spec", "tolerations"),),
    "KUBERNETES_NODE_SELECTOR": (("spec", "nodeSelector"),),
    "KUBERNETES_VOLUMES": (("spec", "volumes"), ("container", "volumeMounts")),
}


def take_task_config(component: ComponentSpec, spec: Obj) -> dict[str, Any]:
    """The value of each ``TASK_CONFIG`` input; takes from the pod's spec what is not for it."""
    inputs = component.input_definitions.parameters
    names = [name for name, declared in inputs.items() if declared.kind == "TASK_CONFIG"]
    if not names:
        return {}
    config: Obj = {}
    for passed in component.task_config_passthroughs:
        for where, field in _PARTS.get(passed.field, ()):
            holder = spec if where == "spec" else spec["containers"][0]
            if field in holder:
                config[field] = holder[field]
                if not passed.apply_to_task:
                    del holder[field]
    return dict.fromkeys(names, config)
