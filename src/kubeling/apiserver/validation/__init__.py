"""What a schema cannot say about built-in kinds: references within an object, limits, immutability.

The messages are Kubernetes' (``pkg/apis/*/validation``), because people search for them. Objects
come here with defaults set and types checked, so rules read fields as what they are declared.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kubeling.apiserver.validation.access import ACCESS_RULES
from kubeling.apiserver.validation.autoscaling import AUTOSCALING_RULES
from kubeling.apiserver.validation.certificates import CERTIFICATE_RULES
from kubeling.apiserver.validation.cluster import CLUSTER_RULES
from kubeling.apiserver.validation.data import DATA_RULES
from kubeling.apiserver.validation.events import EVENT_RULES
from kubeling.apiserver.validation.flowcontrol import FLOW_CONTROL_RULES
from kubeling.apiserver.validation.jobs import JOB_RULES
from kubeling.apiserver.validation.network import NETWORK_RULES
from kubeling.apiserver.validation.pod import POD_RULES
from kubeling.apiserver.validation.registration import REGISTRATION_RULES
from kubeling.apiserver.validation.rules import Check
from kubeling.apiserver.validation.storage import STORAGE_RULES
from kubeling.apiserver.validation.webhooks import WEBHOOK_RULES
from kubeling.apiserver.validation.workloads import WORKLOAD_RULES
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj

__all__ = ["validate_builtin"]

_KINDS: Final[Mapping[tuple[str, str], Check]] = {
    **POD_RULES,
    **WORKLOAD_RULES,
    **AUTOSCALING_RULES,
    **JOB_RULES,
    **NETWORK_RULES,
    **STORAGE_RULES,
    **DATA_RULES,
    **EVENT_RULES,
    **ACCESS_RULES,
    **CERTIFICATE_RULES,
    **CLUSTER_RULES,
    **FLOW_CONTROL_RULES,
    **WEBHOOK_RULES,
    **REGISTRATION_RULES,
}


def validate_builtin(new: Obj, old: Obj | None) -> list[FieldError]:
    """What is wrong with a built-in object beyond its schema; ``old`` is what it replaces."""
    group = new.get("apiVersion", "").rpartition("/")[0]
    check = _KINDS.get((group, new.get("kind", "")))
    return list(check(new, old)) if check else []
