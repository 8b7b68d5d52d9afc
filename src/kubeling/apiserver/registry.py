"""The REST verbs on any resource: the one way objects come to be, change and go.

Every write runs the same steps: identity, defaults (the room's, the kind's), pruning, validation,
admission, quota, ownership of fields, storage. A step that refuses raises an
:class:`~kubeling.kube.errors.ApiError`; then nothing happened. Updates are decided while the
object is held, so a patch never has to be tried twice; only where users' webhooks have a say is
nothing held while they are asked.
"""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Callable, Iterator
from typing import Final

from kubeling.apiserver import metadata as meta
from kubeling.apiserver.admission import AdmissionChain
from kubeling.apiserver.catalog import Catalog
from kubeling.apiserver.database import ArtifactError, StorageFull
from kubeling.apiserver.decoding import cannot_be_handled
from kubeling.apiserver.deletion import DeleteOptions, mark, removable
from kubeling.apiserver.fields import record_fields, unchanged
from kubeling.apiserver.listing import Changes, Listing, list_objects, watch_objects
from kubeling.apiserver.names import finalizer_warnings, metadata_errors
from kubeling.apiserver.options import ListOptions, WriteOptions
from kubeling.apiserver.records import Record, StoreKey
from kubeling.apiserver.selection import Selection
from kubeling.apiserver.served import Served, Settled
from kubeling.apiserver.statuses import begin_status
from kubeling.apiserver.storage import Store, Write
from kubeling.apiserver.strategy import VERSION_REQUIRED
from kubeling.apiserver.webhooks.attributes import of_deletion, of_write
from kubeling.apiserver.webhooks.dispatch import Hooks
from kubeling.apiserver.webhooks.writes import mutated
from kubeling.kube.clock import Clock
from kubeling.kube.errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    FieldError,
    InsufficientStorage,
    Invalid,
    NotFound,
)
from kubeling.kube.objects import Obj, deep_copy

__all__ = ["Registry", "Transform"]

Transform = Callable[[Obj], Obj]
"""Makes the wanted object, in the request's version, from a copy of the present one."""

_SHAPED_ELSEWHERE: Final = frozenset({"status", "binding"})
"""Subresources that set what the main resource may not, and see to what they set."""
_NAME_ATTEMPTS: Final = 8
_TOGETHER: Final = 200
"""How many objects of a collection are deleted at the same time."""
_REVIEWS: Final = 5
"""How often webhooks are asked about a change of an object that goes on changing."""


class Registry:
    """All objects of the server, under Kubernetes' rules.

    Objects returned are shared unless a method says otherwise: read them, do not change them.
    Objects given become the registry's.
    """

    def __init__(
        self, store: Store, catalog: Catalog, admission: AdmissionChain, clock: Clock
    ) -> None:
        self.store = store
        self.catalog = catalog
        self.clock = clock
        self._admission = admission

    # --- reading ---------------------------------------------------------------------------

    def get(self, served: Served, namespace: str, name: str) -> Obj:
        """The object; raises :class:`NotFound`."""
        return served.present(self.record(served, namespace, name).obj)

    def record(self, served: Served, namespace: str, name: str) -> Record:
        """The object as stored; raises :class:`NotFound`."""
        record = self.store.get(served.key(namespace, name))
        if record is None:
            raise NotFound.of(served.resource.group, served.resource.plural, name)
        return record

    def find(self, served: Served, namespace: str, name: str) -> Obj | None:
        """The object, if there is one."""
        record = self.store.get(served.key(namespace, name))
        return served.present(record.obj) if record else None

    def list(self, served: Served, namespace: str, options: ListOptions) -> Listing:
        """A ``List``."""
        return list_objects(self.store, served, namespace, options)

    async def prepare_selection(self, served: Served, options: ListOptions) -> None:
        """Makes what finding the selected quickly needs, before a list that selects."""
        if options.labels or options.fields:
            await self.store.grow(served.storage, Selection.of(served, options).where)

    def watch(self, served: Served, namespace: str, name: str, options: ListOptions) -> Changes:
        """Changes as they are committed."""
        return watch_objects(self.store, served, namespace, name, options)

    # --- creating --------------------------------------------------------------------------

    async def create(self, served: Served, namespace: str, obj: Obj, options: WriteOptions) -> Obj:
        """Creates the object; raises :class:`AlreadyExists`."""
        meta.check_identity(obj, served.resource, namespace)
        hooks = self._admission.hooks(served, "CREATE") if not options.internal else None
        if hooks is not None:
            if served.resource.namespaced:
                self._admission.check_namespace(served, obj)
            obj = await self._mutated(served, obj, None, options, hooks)
            meta.check_identity(obj, served.resource, namespace)
        prefix = "" if obj["metadata"].get("name") else obj["metadata"].get("generateName", "")
        for attempt in range(_NAME_ATTEMPTS):
            try:
                return await self._create(served, obj, options, hooks)
            except AlreadyExists:
                if not prefix or attempt == _NAME_ATTEMPTS - 1:
                    raise
                del obj["metadata"]["name"]
        raise AssertionError("unreachable")

    async def _create(
        self, served: Served, obj: Obj, options: WriteOptions, hooks: Hooks | None
    ) -> Obj:
        resource = served.resource
        meta.begin(obj, self.clock.now(), has_generation=served.strategy.has_generation)
        if not obj["metadata"].get("name"):
            error = FieldError(
                "metadata.name", "Required value", "name or generateName is required"
            )
            raise Invalid.of(resource.group, resource.kind, "", [error])
        if resource.namespaced:
            self._admission.check_namespace(served, obj)
        if "status" in served.subresources:
            obj.pop("status", None)
        self._shape(served, obj, None, options)
        # Whoever writes owns what was written, not what the server or a webhook adds.
        if hooks is None:
            record_fields(served, obj, None, options, self.clock.now())
        obj = served.accept(obj)
        served.strategy.prepare_create(obj)
        begin_status(served, obj)
        self._admission.check(served, obj, None, options)
        self._admission.enforce(served, obj, None, options)
        if hooks is not None:
            await hooks.validate(of_write(served, served.present(obj), None, options))
        key = served.key(obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        async with self.store.exclusive(key) as current:
            if current is not None:
                raise AlreadyExists.of(resource.group, resource.plural, key.name)
            with self._admission.quota(served, obj, None, options):
                if not options.dry_run:
                    await self._write(Write(key, obj), *self._companions(served, obj))
        return served.present(obj)

    def _companions(self, served: Served, obj: Obj) -> builtins.list[Write]:
        writes = []
        for resource, companion in served.strategy.companions(obj):
            other = self.catalog.find(resource.group, resource.version, resource.plural)
            assert other is not None
            meta.begin(companion, self.clock.now(), has_generation=other.strategy.has_generation)
            metadata = companion["metadata"]
            writes.append(Write(other.key(metadata["namespace"], metadata["name"]), companion))
        return writes

    # --- updating --------------------------------------------------------------------------

    async def update(
        self,
        served: Served,
        namespace: str,
        name: str,
        transform: Transform,
        options: WriteOptions,
        *,
        create: Callable[[], Obj] | None = None,
    ) -> tuple[Obj, bool]:
        """Changes the object; returns it and whether it was created.

        With ``create``, an object that does not exist is made rather than missed.
        """
        key = served.key(namespace, name)
        hooks = None
        if not options.internal:
            hooks = self._admission.hooks(served, "UPDATE", options.subresource)
        if hooks is not None:
            changed = await self._update_hooked(served, key, transform, options, hooks)
            if changed is not None:
                return changed, False
        else:
            async with self.store.exclusive(key) as record:
                if record is not None:
                    return await self._update(served, record.obj, transform, options), False
        if create is None:
            raise NotFound.of(served.resource.group, served.resource.plural, name)
        obj = create()
        meta.check_identity(obj, served.resource, namespace, name)
        return await self.create(served, namespace, obj, options), True

    async def _update(
        self, served: Served, stored: Obj, transform: Transform, options: WriteOptions
    ) -> Obj:
        old = served.present(stored)
        # A write of the status changes nothing else, so nothing else needs a copy.
        new = transform(old if options.subresource == "status" else deep_copy(old))
        new = self._judged(served, new, old, stored, options)
        return await self._commit(served, new, stored, options)

    async def _update_hooked(
        self,
        served: Served,
        key: StoreKey,
        transform: Transform,
        options: WriteOptions,
        hooks: Hooks,
    ) -> Obj | None:
        """Changes the object as its webhooks allow; ``None`` where there is none.

        Nothing is held while they are asked. If the object changed meanwhile, all is done again.
        """
        for _ in range(_REVIEWS):
            record = self.store.get(key)
            if record is None:
                return None
            old = served.present(record.obj)
            new = self._wanted(served, deep_copy(transform(deep_copy(old))), old, options)
            new = await self._mutated(served, new, old, options, hooks)
            new = self._judged(served, new, old, record.obj, options)
            await hooks.validate(of_write(served, served.present(new), old, options))
            async with self.store.exclusive(key) as current:
                if current is record:
                    return await self._commit(served, new, current.obj, options, recorded=True)
        raise Conflict.of(served.resource.group, served.resource.plural, key.name)

    async def _mutated(
        self, served: Served, new: Obj, old: Obj | None, options: WriteOptions, hooks: Hooks
    ) -> Obj:
        """The object as its mutating webhooks want it, which see it complete and owned."""
        if not options.subresource:
            with meta.named(new):
                self._admission.default(served, new, old, options)
            unknown, _, unreadable = served.shape.settle(new, old)
            self.judge(served, new, Settled(unknown, [], unreadable), options)
        record_fields(served, new, old, options, self.clock.now())
        return await mutated(hooks, served, new, old, options)

    def _wanted(self, served: Served, new: Obj, old: Obj, options: WriteOptions) -> Obj:
        """What is left of a wanted object once all is put back that the client cannot change."""
        resource = served.resource
        namespace, name = old["metadata"].get("namespace", ""), old["metadata"]["name"]
        new = meta.separate(new)
        meta.check_identity(new, resource, namespace, name, old)
        self._check_version(served, new, old)
        if options.subresource == "status":
            return self._with_status(served, new, old, options)
        if options.subresource or served.strategy.inherits:
            # Which parts of it are taken is told from what is in it.
            self.judge(served, new, Settled([], [], served.shape.decode(new)), options)
        meta.carry_over(new, old, resource)
        if not options.subresource:
            self._admission.tell_apart(served, new, old, options)
        new = _only(new, old, served, options.subresource)
        served.strategy.inherit(new, old)
        return new

    def _judged(
        self, served: Served, new: Obj, old: Obj, stored: Obj, options: WriteOptions
    ) -> Obj:
        """The wanted object as it is to be stored; raises where it may not be."""
        new = self._wanted(served, new, old, options)
        if options.subresource in served.strategy.parts:
            self._shape_part(served, new, old, options)
        elif options.subresource not in _SHAPED_ELSEWHERE:
            self._shape(served, new, old, options)
        new = served.accept(new)
        if served.to_stored is not None and options.subresource != "status" and "status" in stored:
            # A version that has no room for all of a status must not lose any of it.
            new["status"] = stored["status"]
        self._settle(served, new, stored, options)
        return new

    async def _commit(
        self,
        served: Served,
        new: Obj,
        stored: Obj,
        options: WriteOptions,
        *,
        recorded: bool = False,
    ) -> Obj:
        """Writes what differs; ``recorded`` where it is noted already who owns what."""
        if unchanged(new, stored, options):
            return served.present(stored)
        if not recorded:
            record_fields(served, new, stored, options, self.clock.now())
        metadata = stored["metadata"]
        key = served.key(metadata.get("namespace", ""), metadata["name"])
        with self._admission.quota(served, new, stored, options):
            if not options.dry_run:
                if removable(new) and not removable(stored):
                    await self._write(Write(key, None))
                else:
                    await self._write(Write(key, new))
        return served.present(new)

    def _with_status(self, served: Served, new: Obj, old: Obj, options: WriteOptions) -> Obj:
        """The old object with the new status, completed and checked by itself."""
        kept = {**old, "metadata": dict(old["metadata"])}
        if options.applied and "managedFields" in new["metadata"]:
            kept["metadata"]["managedFields"] = new["metadata"]["managedFields"]
        kept.pop("status", None)
        if new.get("status") is not None:
            kept["status"] = deep_copy(new["status"])
            settled = served.shape.settle_status(kept["status"])
            if not settled.errors:
                settled.errors.extend(_broken_rules(served, kept, old, options))
            self.judge(served, old, settled, options)
        return kept

    def _settle(self, served: Served, new: Obj, old: Obj, options: WriteOptions) -> None:
        """The server's own fields, and the rules between the old state and the new."""
        strategy, resource = served.strategy, served.resource
        if options.subresource not in ("status", "finalize"):
            strategy.prepare_update(new, old)
            if strategy.has_generation and strategy.changed_generation(new, old):
                new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
        errors = meta.immutable_errors(new, old)
        if errors:
            raise Invalid.of(resource.group, resource.kind, new["metadata"]["name"], errors)
        self._admission.check(served, new, old, options)
        self._admission.enforce(served, new, old, options)

    def _check_version(self, served: Served, new: Obj, old: Obj) -> None:
        resource, name = served.resource, old["metadata"]["name"]
        given = new["metadata"].get("resourceVersion")
        if given and given != old["metadata"]["resourceVersion"]:
            raise Conflict.of(resource.group, resource.plural, name)
        if not given and (served.custom or served.storage in VERSION_REQUIRED):
            message = "must be specified for an update"
            error = FieldError("metadata.resourceVersion", "Invalid value", message, 0)
            raise Invalid.of(resource.group, resource.kind, name, [error])
        new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]

    def _shape(self, served: Served, new: Obj, old: Obj | None, options: WriteOptions) -> None:
        """Defaults, pruning and validation by the room and by the kind's schema."""
        self._admission.default(served, new, old, options)
        settled = served.shape.settle(new, old)
        if settled.unreadable:
            self.judge(served, new, settled, options)
        if old is None or new["metadata"] != old["metadata"]:
            errors = metadata_errors(new, served.resource, custom=served.custom)
            settled.errors.extend(errors)
            if served.custom:
                options.warnings += _finalizer_warnings(new, old)
        if not settled.errors:
            settled.errors.extend(served.strategy.validate(new, old))
            settled.errors.extend(self._admission.validate(served, new, old, options))
            settled.errors.extend(_broken_rules(served, new, old, options))
        self.judge(served, new, settled, options)

    def _shape_part(self, served: Served, new: Obj, old: Obj, options: WriteOptions) -> None:
        """The same for what is written through a subresource of the kind's own."""
        settled = served.shape.settle(new, None)
        if not settled.errors and not settled.unreadable:
            settled.errors.extend(served.strategy.validate_part(options.subresource, new, old))
        self.judge(served, new, settled, options)

    def judge(self, served: Served, obj: Obj, settled: Settled, options: WriteOptions) -> None:
        """Refuses what was found wrong, and unknown or repeated fields where that is asked for."""
        resource = served.resource
        if settled.unreadable:
            raise cannot_be_handled(resource.kind, resource.version, settled.unreadable)
        told = [*(f'unknown field "{path}"' for path in settled.unknown), *options.duplicates]
        if told and options.field_validation == "Strict":
            why = f"strict decoding error: {', '.join(told)}"
            raise cannot_be_handled(resource.kind, resource.version, why)
        if options.field_validation == "Warn":
            options.warnings += told
            options.duplicates = []
        if settled.errors:
            name = obj["metadata"].get("name", "")
            raise Invalid.of(resource.group, resource.kind, name, settled.errors)

    # --- deleting --------------------------------------------------------------------------

    async def delete(
        self, served: Served, namespace: str, name: str, options: DeleteOptions
    ) -> Obj:
        """Deletes the object, or marks it where something holds it."""
        key = served.key(namespace, name)
        hooks = self._admission.hooks(served, "DELETE") if options.user else None
        for _ in range(_REVIEWS):
            reviewed = self.store.get(key)
            if hooks is not None and reviewed is not None:
                options.check(served.resource, reviewed.obj)
                self._admission.check_delete(served, reviewed.obj, options)
                await hooks.review(of_deletion(served, served.present(reviewed.obj), options))
            async with self.store.exclusive(key) as record:
                if hooks is None or record is reviewed:
                    return await self._delete(served, key, record, options)
        raise Conflict.of(served.resource.group, served.resource.plural, name)

    async def _delete(
        self, served: Served, key: StoreKey, record: Record | None, options: DeleteOptions
    ) -> Obj:
        strategy, resource = served.strategy, served.resource
        if record is None:
            raise NotFound.of(resource.group, resource.plural, key.name)
        stored = record.obj
        options.check(resource, stored)
        grace = strategy.grace_period(stored, options.grace_period_seconds)
        propagation = options.propagation or strategy.default_propagation
        marked = mark(stored, propagation, grace, self.clock.now())
        self._admission.check_delete(served, stored, options)
        self._admission.enforce_delete(served, stored, options)
        if removable(marked):
            if not options.dry_run:
                await self._write(Write(key, None))
            gone = served.present(marked)
            return gone if strategy.returns_deleted else _deleted(served, stored)
        if _is_namespace(served):
            marked["status"] = {**marked.get("status", {}), "phase": "Terminating"}
        if marked != stored and not options.dry_run:
            await self._write(Write(key, marked))
        return served.present(marked)

    async def delete_collection(
        self, served: Served, namespace: str, listing: ListOptions, options: DeleteOptions
    ) -> Listing:
        """Deletes everything the selectors match; returns what that was."""
        await self.prepare_selection(served, listing)
        found = self.list(served, namespace, listing)

        async def drop(key: StoreKey) -> None:
            try:
                await self.delete(served, key.namespace, key.name, options)
            except NotFound:
                return

        records = found.records
        for first in range(0, len(records), _TOGETHER):
            # Together, so that they share commits; not all, so that others are answered as well.
            some = records[first : first + _TOGETHER]
            await asyncio.gather(*(drop(record.key) for record in some))
        return found

    # --- storage ---------------------------------------------------------------------------

    async def _write(self, *writes: Write) -> None:
        try:
            await self.store.write(*writes)
        except StorageFull as error:
            raise InsufficientStorage(str(error)) from error
        except ArtifactError as error:
            raise ApiError(str(error)) from error


def _finalizer_warnings(new: Obj, old: Obj | None) -> Iterator[str]:
    before = old["metadata"].get("finalizers") if old else None
    return finalizer_warnings(new["metadata"].get("finalizers") or (), before or ())


def _broken_rules(
    served: Served, new: Obj, old: Obj | None, options: WriteOptions
) -> builtins.list[FieldError]:
    """What the schema's own rules forbid; what they forbade before is only said."""
    found = served.shape.check_rules(new, old)
    options.warnings += found.warnings
    return found.errors


def _only(new: Obj, old: Obj, served: Served, subresource: str) -> Obj:
    """What a write through a subresource, or beside the status, may change."""
    if subresource == "finalize":
        finalizers = (new.get("spec") or {}).get("finalizers") or []
        return {**deep_copy(old), "spec": {**old.get("spec", {}), "finalizers": finalizers}}
    if subresource and (part := served.strategy.part(subresource, new, old)) is not None:
        owners = new["metadata"].get("managedFields")
        metadata = {**old["metadata"], **({"managedFields": owners} if owners else {})}
        return {**part, "metadata": metadata}
    if not subresource and "status" in served.subresources:
        if "status" in old:
            new["status"] = deep_copy(old["status"])
        else:
            new.pop("status", None)
    return new


def _deleted(served: Served, obj: Obj) -> Obj:
    resource = served.resource
    details: Obj = {"name": obj["metadata"]["name"]}
    if resource.group:
        details["group"] = resource.group
    details |= {"kind": resource.plural, "uid": obj["metadata"]["uid"]}
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details,
    }


def _is_namespace(served: Served) -> bool:
    return served.storage == "/namespaces"
