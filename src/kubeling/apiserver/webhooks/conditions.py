"""``matchConditions``: expressions that narrow down what a webhook is asked about.

They are compiled when a webhook first gets as far, so the language is loaded for those who use it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from kubeling.apiserver.cel.errors import CelError, CompileError
from kubeling.apiserver.cel.frames import REQUEST_LIMIT, Meter
from kubeling.apiserver.cel.program import Program
from kubeling.apiserver.policies.environment import Environment, Scope
from kubeling.apiserver.policies.validating import compile_conditions, conditions_hold
from kubeling.apiserver.policies.variables import request_variables
from kubeling.apiserver.rbac import Authorizer
from kubeling.apiserver.served import Served
from kubeling.apiserver.webhooks.attributes import Attributes
from kubeling.apiserver.webhooks.configuration import Webhook
from kubeling.kube.errors import FieldError, Forbidden
from kubeling.kube.objects import Obj

__all__ = ["condition_errors", "conditions_met"]

_MOST: Final = 64


def conditions_met(
    webhook: Webhook,
    attributes: Attributes,
    matched: Served,
    namespace: Obj | None,
    authorizer: Authorizer,
) -> bool:
    """Whether all hold; where that cannot be said, the webhook's ``failurePolicy`` decides."""
    values = request_variables(attributes, matched, namespace, authorizer)
    try:
        return conditions_hold(_compiled(webhook), Scope(values, {}, Meter(REQUEST_LIMIT)))
    except CelError as error:
        if webhook.ignores_failure:
            return False
        resource, name = attributes.served.resource, attributes.name
        raise Forbidden.of(resource.group, resource.plural, name, str(error)) from None


@lru_cache(maxsize=256)
def _compiled(webhook: Webhook) -> list[Program]:
    spec = {"matchConditions": webhook.conditions}
    return compile_conditions(spec, Environment(with_params=False))


def condition_errors(conditions: list[Obj], path: str) -> Iterable[FieldError]:
    """What is wrong with the conditions of a webhook as they are written."""
    if len(conditions) > _MOST:
        yield FieldError(path, "Too many", f"must have at most {_MOST} items", len(conditions))
    names: set[str] = set()
    for index, condition in enumerate(conditions):
        where, name = f"{path}[{index}]", condition.get("name") or ""
        if not name:
            yield FieldError(f"{where}.name", "Required value", "")
        elif name in names:
            yield FieldError(f"{where}.name", "Duplicate value", "", name)
        names.add(name)
        yield from _expression_errors(condition.get("expression") or "", f"{where}.expression")


def _expression_errors(expression: str, path: str) -> Iterable[FieldError]:
    if not expression.strip():
        yield FieldError(path, "Required value", "")
        return
    spec = {"matchConditions": [{"expression": expression}]}
    try:
        compile_conditions(spec, Environment(with_params=False))
    except CompileError as error:
        yield FieldError(path, "Invalid value", str(error), expression)
