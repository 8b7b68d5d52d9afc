"""Says of configurations which services use them, and keeps those that are used.

Source: llmisvcconfig_controller.go. A configuration that somebody deletes is there until no service
refers to it any more; one with the name of a built-in one belongs to every service near.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from kubeling.component import Context
from kubeling.kube.controller import Controller
from kubeling.kube.errors import NotFound
from kubeling.kube.objects import (
    Key,
    Obj,
    deep_copy,
    deletion_requested,
    generation,
    key_of,
    name,
    namespace,
    set_condition,
)
from kubeling.serving.llm.presets import SYSTEM_NAMESPACE, WELL_KNOWN
from kubeling.serving.llm.resources import LLM_CONFIGS, LLM_SERVICES

__all__ = ["LLMConfigController"]

_FINALIZER: Final = "serving.kserve.io/llmisvcconfig-finalizer"


class LLMConfigController:
    """Reconciles LLMInferenceServiceConfigs."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._informers = context.informers
        self._clock = context.clock
        self._recorder = context.recorder("llmisvcconfig-controller")

    def controller(self) -> Controller:
        """The controller, with what wakes it."""
        return Controller(
            "llminferenceserviceconfig",
            LLM_CONFIGS,
            self.reconcile,
            watches={LLM_SERVICES: self._configs_near},
        )

    async def reconcile(self, key: Key) -> None:
        """Writes a configuration's status."""
        config = self._informers.of(LLM_CONFIGS).get(*key)
        if config is None:
            return
        held = config["metadata"].get("finalizers") or []
        leaving = deletion_requested(config)
        if leaving and _FINALIZER not in held:
            return
        if not leaving and _FINALIZER not in held:
            await self._hold(config, [*held, _FINALIZER])
            return
        users = sorted(
            (namespace(llm), name(llm))
            for llm in self._informers.of(LLM_SERVICES).list()
            if _uses(llm, config)
        )
        if leaving and not users:
            await self._hold(config, [one for one in held if one != _FINALIZER])
            return
        await self._report(config, users)

    async def _report(self, config: Obj, users: list[tuple[str, str]]) -> None:
        status: Obj = deep_copy(config.get("status") or {})
        status["observedGeneration"] = generation(config)
        status["referencedBy"] = [{"name": title, "namespace": where} for where, title in users]
        now, many = self._clock.now(), f"used by {len(users)} LLMInferenceServices"
        set_condition(status, "Ready", True, now=now)
        reason = "InUse" if users else "NotInUse"
        if deletion_requested(config):
            reason = "DeletionBlocked"
        set_condition(status, "ConfigInUse", bool(users), reason=reason, message=many, now=now)
        if status == config.get("status"):
            return
        try:
            await self._client.replace_status(LLM_CONFIGS, {**config, "status": status})
        except NotFound:
            return
        if reason == "DeletionBlocked":
            text = f"Cannot delete LLMInferenceServiceConfig {'/'.join(key_of(config))}: {many}"
            await self._recorder.warning(config, reason, text)

    async def _hold(self, config: Obj, finalizers: list[str]) -> None:
        """Sets what has to be gone before the configuration is."""
        metadata = {
            "finalizers": finalizers,
            "resourceVersion": config["metadata"]["resourceVersion"],
        }
        try:
            await self._client.patch(
                LLM_CONFIGS, name(config), {"metadata": metadata}, namespace(config)
            )
        except NotFound:
            return

    def _configs_near(self, llm: Obj) -> Iterable[Key]:
        for config in self._informers.of(LLM_CONFIGS).list():
            if namespace(config) in (namespace(llm), SYSTEM_NAMESPACE):
                yield key_of(config)


def _uses(llm: Obj, config: Obj) -> bool:
    """By what it refers to, and what was merged last."""
    applied = (llm.get("status") or {}).get("appliedConfigs") or ()
    if any((ref["namespace"], ref["name"]) == (namespace(config), name(config)) for ref in applied):
        return True
    near = namespace(config) in (namespace(llm), SYSTEM_NAMESPACE)
    if near and name(config) in WELL_KNOWN:
        return True
    refs = llm["spec"].get("baseRefs") or ()
    return near and any(ref.get("name") == name(config) for ref in refs)
