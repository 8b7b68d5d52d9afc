"""Defaults of built-in kinds.

OpenAPI carries almost none of them: upstream sets them in Go (``pkg/apis/*/v1/defaults.go``).
Clients, controllers and GitOps tools expect to read them back. They are kept as tables of rules,
one table a kind; objects come here before their types are checked, so a rule passes over whatever
has another shape than it expects.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kubeling.apiserver.defaults.access import ACCESS_DEFAULTS
from kubeling.apiserver.defaults.flowcontrol import FLOW_CONTROL_DEFAULTS
from kubeling.apiserver.defaults.network import NETWORK_DEFAULTS
from kubeling.apiserver.defaults.pods import POD_DEFAULTS
from kubeling.apiserver.defaults.rules import Rule, default, fill
from kubeling.apiserver.defaults.storage import STORAGE_DEFAULTS
from kubeling.apiserver.defaults.workloads import WORKLOAD_DEFAULTS
from kubeling.kube.objects import Obj

__all__ = ["set_defaults"]

_KINDS: Final[Mapping[tuple[str, str], tuple[Rule, ...]]] = {
    **POD_DEFAULTS,
    **WORKLOAD_DEFAULTS,
    **NETWORK_DEFAULTS,
    **STORAGE_DEFAULTS,
    **ACCESS_DEFAULTS,
    **FLOW_CONTROL_DEFAULTS,
}
_SPECIFIED: Final = frozenset(
    kind for kind, rules in _KINDS.items() if any(rule.path.startswith("spec") for rule in rules)
)
"""Kinds that have a ``spec`` even if nothing is said in it."""


def set_defaults(obj: Obj) -> None:
    """Fills in what upstream's server would, in place."""
    kind = (obj.get("apiVersion", ""), obj.get("kind", ""))
    if kind in _SPECIFIED:
        default(obj, {"spec": {}})
    fill(obj, _KINDS.get(kind, ()))
