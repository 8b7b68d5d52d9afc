"""``authorizer``: asks whether a user may do something, as admission expressions can.

The question itself is put through :data:`Ask`, so nothing here knows the server's rules.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Final

from kubeling.apiserver.cel.library import Library

__all__ = ["AUTHORIZER", "Ask", "AuthorizerValue", "Question"]

AUTHORIZER: Final = Library()
define = AUTHORIZER.define


@dataclass(frozen=True, slots=True)
class Question:
    """Who wants to do what; ``path`` for requests that are not about resources."""

    verb: str = ""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    service_account: tuple[str, str] | None = None
    """Namespace and name, where the question is not about the request's user."""


Ask = Callable[[Question], bool]


@dataclass(frozen=True, slots=True)
class AuthorizerValue:
    """The variable ``authorizer``."""

    cel_name: ClassVar[str] = "kubernetes.authorization.Authorizer"
    ask: Ask
    question: Question = Question()


class Group(AuthorizerValue):
    """``authorizer.group(…)``."""

    cel_name = "kubernetes.authorization.GroupCheck"


class ResourceCheck(AuthorizerValue):
    """``….resource(…)``."""

    cel_name = "kubernetes.authorization.ResourceCheck"


class PathCheck(AuthorizerValue):
    """``authorizer.path(…)``."""

    cel_name = "kubernetes.authorization.PathCheck"


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer."""

    cel_name: ClassVar[str] = "kubernetes.authorization.Decision"
    allowed: bool


@define("Authorizer.serviceAccount(string, string) -> Authorizer")
def _service_account(authorizer: AuthorizerValue, namespace: str, name: str) -> AuthorizerValue:
    question = replace(authorizer.question, service_account=(namespace, name))
    return AuthorizerValue(authorizer.ask, question)


@define("Authorizer.group(string) -> GroupCheck")
def _group(authorizer: AuthorizerValue, group: str) -> Group:
    return Group(authorizer.ask, replace(authorizer.question, group=group))


@define("Authorizer.path(string) -> PathCheck")
def _path(authorizer: AuthorizerValue, path: str) -> PathCheck:
    return PathCheck(authorizer.ask, replace(authorizer.question, path=path))


@define("GroupCheck.resource(string) -> ResourceCheck")
def _resource(group: Group, resource: str) -> ResourceCheck:
    return ResourceCheck(group.ask, replace(group.question, resource=resource))


@define("ResourceCheck.subresource(string) -> ResourceCheck")
def _subresource(check: ResourceCheck, subresource: str) -> ResourceCheck:
    return ResourceCheck(check.ask, replace(check.question, subresource=subresource))


@define("ResourceCheck.namespace(string) -> ResourceCheck")
def _namespace(check: ResourceCheck, namespace: str) -> ResourceCheck:
    return ResourceCheck(check.ask, replace(check.question, namespace=namespace))


@define("ResourceCheck.name(string) -> ResourceCheck")
def _name(check: ResourceCheck, name: str) -> ResourceCheck:
    return ResourceCheck(check.ask, replace(check.question, name=name))


@define("ResourceCheck.check(string) -> Decision", "PathCheck.check(string) -> Decision")
def _check(asked: AuthorizerValue, verb: str) -> Decision:
    return Decision(asked.ask(replace(asked.question, verb=verb)))


define("Decision.allowed() -> bool")(lambda decision: decision.allowed)
define("Decision.reason() -> string")(lambda decision: "")
define("Decision.errored() -> bool")(lambda decision: False)
define("Decision.error() -> string")(lambda decision: "")
