"""Secrets of type ``kubernetes.io/service-account-token``: a token that has no end.

Whoever creates such a Secret, and names an account in its annotation, finds a token, the namespace
and the CA's certificate in it; the Secret goes with its account. Upstream:
``pkg/controller/serviceaccount/tokens_controller.go``.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import partial
from typing import Final

from kubeling.apiserver.deletion import DeleteOptions
from kubeling.apiserver.options import WriteOptions
from kubeling.apiserver.records import Event, StoreKey
from kubeling.apiserver.registry import Registry
from kubeling.apiserver.served import Served
from kubeling.apiserver.tokens import Tokens
from kubeling.apiserver.upkeep import Upkeep
from kubeling.kube import objects
from kubeling.kube.errors import NotFound
from kubeling.kube.objects import Obj, deletion_requested

__all__ = ["LegacyTokens"]

_TASK: Final = "legacy token"
_TYPE: Final = "kubernetes.io/service-account-token"
_NAME: Final = "kubernetes.io/service-account.name"
_UID: Final = "kubernetes.io/service-account.uid"
_FIELDS: Final = ("token", "namespace", "ca.crt")


class LegacyTokens:
    """Fills such Secrets, and deletes those whose account is gone."""

    def __init__(self, registry: Registry, tokens: Tokens, authority: str, upkeep: Upkeep) -> None:
        self._registry = registry
        self._tokens = tokens
        self._authority = authority
        self._ask = partial(upkeep.ask, _TASK)
        upkeep.also(_TASK, self._keep)
        registry.store.subscribe("/secrets", self._on_secret)
        registry.store.subscribe("/serviceaccounts", self._on_account)

    def _on_secret(self, event: Event) -> None:
        record = event.record
        # Most Secrets are of other types, and nobody has read them yet when the server starts.
        if event.type == "DELETED" or _TYPE.encode() not in record.encoded:
            return
        if record.obj.get("type") == _TYPE and not _complete(record.obj):
            self._ask(f"{record.key.namespace}/{record.key.name}")

    def _on_account(self, event: Event) -> None:
        if event.type != "DELETED":
            return
        namespace, name = event.record.key.namespace, event.record.key.name
        for record in self._registry.store.list("/secrets", namespace):
            secret = record.glance()
            if secret.get("type") == _TYPE and objects.annotations(secret).get(_NAME) == name:
                self._ask(f"{namespace}/{record.key.name}")

    async def _keep(self, address: str) -> None:
        """Brings one Secret into order."""
        namespace, _, name = address.partition("/")
        record = self._registry.store.get(StoreKey("/secrets", namespace, name))
        if record is None or deletion_requested(record.obj):
            return
        about = objects.annotations(record.obj)
        account = self._registry.store.get(
            StoreKey("/serviceaccounts", namespace, about.get(_NAME, ""))
        )
        served = self._registry.catalog.of_storage("/secrets")
        assert served is not None
        if account is None or about.get(_UID, "") not in ("", account.obj["metadata"]["uid"]):
            await self._delete(served, namespace, name, record.obj["metadata"]["uid"])
            return
        if not _complete(record.obj):
            await self._registry.update(
                served, namespace, name, self._filled(account.obj), WriteOptions(internal=True)
            )

    async def _delete(self, served: Served, namespace: str, name: str, uid: str) -> None:
        try:
            await self._registry.delete(served, namespace, name, DeleteOptions(uid=uid))
        except NotFound:
            return

    def _filled(self, account: Obj) -> Callable[[Obj], Obj]:
        def transform(secret: Obj) -> Obj:
            metadata = secret["metadata"]
            metadata.setdefault("annotations", {})[_UID] = account["metadata"]["uid"]
            data = secret.setdefault("data", {})
            for field, make in (
                ("token", lambda: self._tokens.issue_legacy(account, metadata["name"])),
                ("namespace", lambda: metadata["namespace"]),
                ("ca.crt", lambda: self._authority),
            ):
                if not data.get(field):
                    data[field] = base64.b64encode(make().encode()).decode()
            return secret

        return transform


def _complete(secret: Obj) -> bool:
    data = secret.get("data") or {}
    return all(data.get(field) for field in _FIELDS) and _UID in objects.annotations(secret)
