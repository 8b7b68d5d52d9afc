"""``x-kubernetes-validations``: the rules that a definition's schema states as expressions.

Importing this is cheap; what compiles and applies rules is imported where a schema has some.
"""

from __future__ import annotations

from typing import Final

from kubeling.kube.objects import Obj

__all__ = ["RULES", "states_rules"]

RULES: Final = "x-kubernetes-validations"


def states_rules(schema: Obj) -> bool:
    """Whether a schema has a rule anywhere."""
    if schema.get(RULES):
        return True
    children = [*(schema.get("properties") or {}).values()]
    children += [schema.get("items"), schema.get("additionalProperties")]
    return any(states_rules(child) for child in children if isinstance(child, dict))
