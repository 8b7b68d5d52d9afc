"""What the variables of policy expressions stand for in one request."""

from __future__ import annotations

from typing import Any

from kubeling.apiserver.cel.functions.authorizer import AuthorizerValue, Question, ResourceCheck
from kubeling.apiserver.rbac import Attributes as Wanted
from kubeling.apiserver.rbac import Authorizer
from kubeling.apiserver.served import Served
from kubeling.apiserver.user import User
from kubeling.apiserver.webhooks.attributes import Attributes
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource

__all__ = ["request_variables"]


def request_variables(
    attributes: Attributes, matched: Served, namespace: Obj | None, authorizer: Authorizer
) -> dict[str, Any]:
    """All but ``params``; ``matched`` is the version that the policy's rules name."""
    return {
        "object": _in_version(attributes.object, attributes, matched),
        "oldObject": _in_version(attributes.old, attributes, matched),
        "request": _request(attributes, matched.resource),
        "namespaceObject": namespace,
        **_authorizers(attributes, authorizer),
    }


def _in_version(obj: Obj | None, attributes: Attributes, matched: Served) -> Obj | None:
    if obj is None or matched is attributes.served or attributes.subresource == "scale":
        return obj
    return matched.present(attributes.served.accept(obj))


def _request(attributes: Attributes, matched: Resource) -> Obj:
    mine = attributes.served.resource
    return {
        "uid": "",
        "kind": _kind(matched),
        "resource": _resource(matched),
        "subResource": attributes.subresource,
        "requestKind": _kind(mine),
        "requestResource": _resource(mine),
        "requestSubResource": attributes.subresource,
        "name": attributes.name,
        "namespace": attributes.namespace,
        "operation": attributes.operation,
        "userInfo": {"uid": "", "groups": [], "extra": {}, **attributes.user.to_object()},
        "dryRun": attributes.dry_run,
        "options": attributes.options,
    }


def _kind(resource: Resource) -> Obj:
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


def _resource(resource: Resource) -> Obj:
    return {"group": resource.group, "version": resource.version, "resource": resource.plural}


def _authorizers(attributes: Attributes, authorizer: Authorizer) -> dict[str, Any]:
    def ask(question: Question) -> bool:
        return authorizer.allows(_user(question, attributes.user), _wanted(question))

    resource = attributes.served.resource
    mine = Question(
        group=resource.group,
        resource=resource.plural,
        subresource=attributes.subresource,
        namespace=attributes.namespace,
        name=attributes.name,
    )
    return {
        "authorizer": AuthorizerValue(ask),
        "authorizer.requestResource": ResourceCheck(ask, mine),
    }


def _user(question: Question, user: User) -> User:
    if question.service_account is None:
        return user
    namespace, name = question.service_account
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
    account = f"system:serviceaccount:{namespace}:{name}"
    return User(account, (*groups, "system:authenticated"))


def _wanted(question: Question) -> Wanted:
    return Wanted(
        question.verb,
        question.group,
        question.resource,
        question.subresource,
        question.namespace,
        question.name,
        question.path,
    )
