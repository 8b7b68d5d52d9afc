"""Says of configurations which services use them (llmisvcconfig_controller.go)."""

from __future__ import annotations

from collections.abc import Iterable

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
from kubeling.serving.llm.presets import SYSTEM_NAMESPACE
from kubeling.serving.llm.resources import LLM_CONFIGS, LLM_SERVICES

__all__ = ["LLMConfigController"]


class LLMConfigController:
    """Reconciles LLMInferenceServiceConfigs."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._informers = context.informers
        self._clock = context.clock

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
        if config is None or deletion_requested(config):
            return
        users = sorted(
            (namespace(llm), name(llm))
            for llm in self._informers.of(LLM_SERVICES).list()
            if _uses(llm, config)
        )
        status: Obj = deep_copy(config.get("status") or {})
        status["observedGeneration"] = generation(config)
        status["referencedBy"] = [{"name": title, "namespace": where} for where, title in users]
        now, many = self._clock.now(), f"used by {len(users)} LLMInferenceServices"
        set_condition(status, "Ready", True, now=now)
        reason = "InUse" if users else "NotInUse"
        set_condition(status, "ConfigInUse", bool(users), reason=reason, message=many, now=now)
        if status == config.get("status"):
            return
        try:
            await self._client.replace_status(LLM_CONFIGS, {**config, "status": status})
        except NotFound:
            return

    def _configs_near(self, llm: Obj) -> Iterable[Key]:
        for config in self._informers.of(LLM_CONFIGS).list():
            if namespace(config) in (namespace(llm), SYSTEM_NAMESPACE):
                yield key_of(config)


def _uses(llm: Obj, config: Obj) -> bool:
    """By what was merged last; of a service that was not yet, by what it refers to."""
    applied = (llm.get("status") or {}).get("appliedConfigs")
    if applied:
        return any(
            (ref["namespace"], ref["name"]) == (namespace(config), name(config)) for ref in applied
        )
    near = namespace(config) in (namespace(llm), SYSTEM_NAMESPACE)
    refs = llm["spec"].get("baseRefs") or ()
    return near and any(ref.get("name") == name(config) for ref in refs)
