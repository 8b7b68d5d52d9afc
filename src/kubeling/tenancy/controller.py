"""Profiles: keeps each one's namespace as the profile says it should be."""

from __future__ import annotations

from kubeling.component import Context
from kubeling.kube.controller import Controller, Result
from kubeling.kube.objects import (
    Key,
    Obj,
    deep_copy,
    deletion_requested,
    is_owned_by,
    name,
    set_condition,
)
from kubeling.kube.resources import NAMESPACES, RESOURCE_QUOTAS, ROLE_BINDINGS, SERVICE_ACCOUNTS
from kubeling.tenancy.plan import OWNER, QUOTA, contents, is_foreign, namespace_of
from kubeling.tenancy.resources import PROFILES

__all__ = ["ProfileController"]


class ProfileController:
    """Reconciles profiles."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._profiles = context.informers.of(PROFILES)
        self._clock = context.clock
        self._recorder = context.recorder("profile-controller")

    def controller(self) -> Controller:
        return Controller(
            "profile",
            PROFILES,
            self.reconcile,
            owns=(NAMESPACES, SERVICE_ACCOUNTS, ROLE_BINDINGS, RESOURCE_QUOTAS),
        )

    async def reconcile(self, key: Key) -> Result | None:
        """Makes the namespace, unless it is someone else's, and fills it."""
        profile = self._profiles.get("", key.name)
        if profile is None or deletion_requested(profile):
            return None
        namespace = await self._client.find(NAMESPACES, key.name)
        if namespace is not None and is_foreign(profile, namespace):
            await self._refuse(profile, namespace)
            return None
        await self._client.apply(
            NAMESPACES, namespace_of(profile), field_manager="profile-controller"
        )
        for resource, obj in contents(profile):
            await self._client.apply(resource, obj, field_manager="profile-controller")
        await self._drop_quota(profile)
        await self._settle(profile)
        return None

    async def _drop_quota(self, profile: Obj) -> None:
        if any(resource is RESOURCE_QUOTAS for resource, _ in contents(profile)):
            return
        quota = await self._client.find(RESOURCE_QUOTAS, QUOTA, name(profile))
        if quota is not None and is_owned_by(quota, profile):
            await self._client.delete(RESOURCE_QUOTAS, QUOTA, name(profile), missing_ok=True)

    async def _refuse(self, profile: Obj, namespace: Obj) -> None:
        owner = (namespace["metadata"].get("annotations") or {}).get(OWNER, "nobody")
        wanted = profile["spec"]["owner"]["name"]
        message = (
            f'namespace "{name(profile)}" exists and belongs to {owner}; choose another name for '
            f"the profile, or annotate the namespace with {OWNER}: {wanted}"
        )
        if await self._set_condition(profile, "Failed", True, "NamespaceTaken", message):
            await self._recorder.warning(profile, "NamespaceTaken", message)

    async def _settle(self, profile: Obj) -> None:
        ready = f"namespace {name(profile)} is ready"
        await self._set_condition(profile, "Ready", True, "NamespaceReady", ready)

    async def _set_condition(
        self, profile: Obj, kind: str, value: bool, reason: str, message: str
    ) -> bool:
        fresh: Obj = deep_copy(profile)
        status = fresh.setdefault("status", {})
        other = "Ready" if kind == "Failed" else "Failed"
        kept = [c for c in status.get("conditions") or () if c.get("type") != other]
        status["conditions"] = kept
        now = self._clock.now()
        changed = set_condition(status, kind, value, reason=reason, message=message, now=now)
        if changed:
            await self._client.replace_status(PROFILES, fresh)
        return changed
