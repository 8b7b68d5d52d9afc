"""Admission: what the rooms and the server itself fill in and refuse when objects are written."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Final, Protocol

from kubeling.apiserver.certificates.check import complete_request
from kubeling.apiserver.certificates.request import CSR
from kubeling.apiserver.completion import complete_claim, complete_pod
from kubeling.apiserver.deletion import DeleteOptions
from kubeling.apiserver.options import WriteOptions
from kubeling.apiserver.podpriority import PRIORITIES, SYSTEM_PRIORITIES
from kubeling.apiserver.policies.enforcement import Policies
from kubeling.apiserver.quota import QuotaKeeper
from kubeling.apiserver.records import StoreKey
from kubeling.apiserver.served import Served
from kubeling.apiserver.storage import Store
from kubeling.apiserver.user import User
from kubeling.apiserver.webhooks.attributes import Operation, of_deletion, of_write
from kubeling.apiserver.webhooks.dispatch import AdmissionWebhooks, Hooks
from kubeling.kube.admission import Admission, AdmissionRequest
from kubeling.kube.errors import FieldError, Forbidden, NotFound
from kubeling.kube.objects import Obj, deletion_requested
from kubeling.kube.resources import Resource

__all__ = ["AdmissionChain", "Check"]


class Check(Protocol):
    """A rule of the server's own; it completes the object or refuses the write by raising.

    It sees the object as it would be stored, also where only a subresource is written.
    """

    @property
    def storages(self) -> Collection[str]:
        """The collections it is about."""
        ...

    def __call__(
        self, served: Served, new: Obj, old: Obj | None, options: WriteOptions
    ) -> None: ...


_COMPLETIONS: Final = {"/pods": complete_pod, "/persistentvolumeclaims": complete_claim}
_PROTECTED: Final = frozenset({"default", "kube-system", "kube-public"})


class AdmissionChain:
    """Everything that has a say in a write, in order.

    ``rooms`` hold per resource what a component defaults and validates; ``checks`` are the
    server's own rules that need to see other objects or the user (role escalation). Of
    ``webhooks``, mutating ones come after all defaults, validating ones last but for the quota.
    """

    def __init__(
        self,
        store: Store,
        rooms: Mapping[Resource, Admission],
        webhooks: AdmissionWebhooks,
        checks: tuple[Check, ...] = (),
        policies: Policies | None = None,
    ) -> None:
        self._store = store
        self._checks: dict[str, list[Check]] = {}
        for check in checks:
            for storage in check.storages:
                self._checks.setdefault(storage, []).append(check)
        self._policies = policies
        self._webhooks = webhooks
        self._quota = QuotaKeeper(store)
        self._rooms: dict[tuple[str, str, str], list[Admission]] = {}
        for resource, admission in rooms.items():
            self._rooms.setdefault(_address(resource), []).append(admission)

    def default(self, served: Served, new: Obj, old: Obj | None, options: WriteOptions) -> None:
        """Lets the room fill in what the user left out, and the server what pods need."""
        if options.subresource:
            return
        for admission in self._rooms.get(_address(served.resource), ()):
            if admission.default is not None:
                admission.default(new, self._request(served, old, options))
        if old is None and (complete := _COMPLETIONS.get(served.storage)) is not None:
            complete(self._store, new)
        if old is None and served.storage == CSR:
            complete_request(new, options.user)

    def validate(
        self, served: Served, new: Obj, old: Obj | None, options: WriteOptions
    ) -> list[FieldError]:
        """What the room finds wrong; what else it has to say goes into the answer's warnings."""
        if options.subresource:
            return []
        errors: list[FieldError] = []
        for admission in self._rooms.get(_address(served.resource), ()):
            request = self._request(served, old, options)
            if admission.validate is not None:
                errors += admission.validate(new, old, request)
            if admission.warn is not None and not errors:
                options.warnings += admission.warn(new, request)
        return errors

    def tell_apart(self, served: Served, new: Obj, old: Obj, options: WriteOptions) -> None:
        """Warns of a changed status that this write passes over, where a room wants that said."""
        for admission in self._rooms.get(_address(served.resource), ()):
            if admission.apart and new.get("status", old.get("status")) != old.get("status"):
                options.warnings.append(admission.apart)

    def check(self, served: Served, new: Obj, old: Obj | None, options: WriteOptions) -> None:
        """The server's own rules; raises to refuse."""
        for check in self._checks.get(served.storage, ()):
            check(served, new, old, options)

    def hooks(self, served: Served, operation: Operation, subresource: str = "") -> Hooks | None:
        """The users' mutating policies and webhooks for such requests; almost always none."""
        if subresource == "binding":
            # It is reviewed as what it is, not as the change of a pod that it comes to.
            return None
        first = None
        if self._policies is not None and self._policies.mutates(served):
            first = self._policies.mutate
        return self._webhooks.hooks(served, operation, subresource, first)

    def enforce(self, served: Served, new: Obj, old: Obj | None, options: WriteOptions) -> None:
        """The users' policies on what would be stored; raises what they deny."""
        if options.internal:
            return
        if self._policies is not None and self._policies.validates(served):
            before = None if old is None else served.present(old)
            self._policies.check(of_write(served, served.present(new), before, options))

    def enforce_delete(self, served: Served, obj: Obj, options: DeleteOptions) -> None:
        """The users' policies on what would be gone; raises what they deny."""
        if self._policies is not None and options.user and self._policies.validates(served):
            self._policies.check(of_deletion(served, served.present(obj), options))

    def check_namespace(self, served: Served, obj: Obj) -> None:
        """New objects need a namespace that exists and stays."""
        resource, namespace = served.resource, obj["metadata"]["namespace"]
        record = self._store.get(StoreKey("/namespaces", "", namespace))
        if record is None:
            raise NotFound.of("", "namespaces", namespace)
        if deletion_requested(record.obj):
            name = obj["metadata"].get("name", "")
            message = f"namespace {namespace} is being terminated"
            why = (
                f"unable to create new content in namespace {namespace} because it is being "
                "terminated"
            )
            error = Forbidden.of(resource.group, resource.plural, name, why)
            error.details["causes"] = [
                {
                    "reason": "NamespaceTerminating",
                    "message": message,
                    "field": "metadata.namespace",
                }
            ]
            raise error

    def check_delete(self, served: Served, obj: Obj, options: DeleteOptions) -> None:
        """What every cluster stands on cannot go, nor what a room wants kept."""
        if options.user is not None:
            self._ask_rooms(served, obj, options.user)
        if served.storage == PRIORITIES and obj["metadata"]["name"] in SYSTEM_PRIORITIES:
            why = "this is a system priority class and cannot be deleted"
            raise Forbidden.of(
                served.resource.group, served.resource.plural, obj["metadata"]["name"], why
            )
        if served.storage == "/namespaces" and obj["metadata"]["name"] in _PROTECTED:
            name = obj["metadata"]["name"]
            raise Forbidden.of("", "namespaces", name, "this namespace may not be deleted")

    def _ask_rooms(self, served: Served, obj: Obj, user: User) -> None:
        resource = served.resource
        for admission in self._rooms.get(_address(resource), ()):
            if admission.keep is None:
                continue
            request = AdmissionRequest(
                resource,
                "DELETE",
                user=user.name,
                groups=user.groups,
                old=obj,
                find=self._find,
                list=self._list,
            )
            if why := admission.keep(served.present(obj), request):
                raise Forbidden.of(resource.group, resource.plural, obj["metadata"]["name"], why)

    def quota(
        self, served: Served, new: Obj, old: Obj | None, options: WriteOptions
    ) -> AbstractContextManager[None]:
        """Holds what the write will use until it is committed; raises where that is too much."""
        namespace = new["metadata"].get("namespace", "")
        if options.subresource == "status" or not self._quota.limits(namespace):
            return contextlib.nullcontext()
        return self._quota.reserve(served.storage, new, old)

    def _request(self, served: Served, old: Obj | None, options: WriteOptions) -> AdmissionRequest:
        return AdmissionRequest(
            resource=served.resource,
            operation="CREATE" if old is None else "UPDATE",
            user=options.user.name,
            groups=options.user.groups,
            dry_run=options.dry_run,
            old=old,
            find=self._find,
            list=self._list,
        )

    def _list(self, resource: Resource, namespace: str) -> Iterator[Obj]:
        """All objects of a kind as they are stored."""
        for record in self._store.list(f"{resource.group}/{resource.plural}", namespace):
            yield record.obj

    def _find(self, resource: Resource, name: str, namespace: str) -> Obj | None:
        """An object as it is stored."""
        record = self._store.get(StoreKey(f"{resource.group}/{resource.plural}", namespace, name))
        return None if record is None else record.obj


def _address(resource: Resource) -> tuple[str, str, str]:
    return resource.group, resource.version, resource.plural
