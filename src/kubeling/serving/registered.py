"""Registered models: ``model-registry://model/version`` in a spec, looked up before all else.

The address is looked up by the controller, not by the pod: the revision then states which files it
serves, and a model that is not registered is said in the status instead of in a crashed pod's log.
"""

from __future__ import annotations

import asyncio
from typing import Final

from kubeling.artifacts.errors import ArtifactError
from kubeling.kube.objects import Obj, deep_copy, generation, uid
from kubeling.serving.storage import registry
from kubeling.serving.storage.uris import parse_uri

__all__ = ["ModelNotRegistered", "RegisteredModels"]

_SCHEME: Final = "model-registry://"


class ModelNotRegistered(Exception):
    """The registry does not know the model, or cannot be asked; worth trying again later."""


class RegisteredModels:
    """Resolves each generation of a service once."""

    def __init__(self, registry_url: str) -> None:
        self._env = {"MODEL_REGISTRY_BASE_URL": registry_url}
        self._found: dict[str, dict[str, tuple[int, Obj]]] = {}
        """By uid, and by the predictor's name: a canary has a predictor of its own."""

    async def resolved(self, isvc: Obj) -> Obj:
        """The service with the addresses of its models' files."""
        if not any(str(place[key]).startswith(_SCHEME) for place, key in _places(isvc)):
            return isvc
        variants = self._found.setdefault(uid(isvc), {})
        variant = isvc["spec"]["predictor"].get("name") or ""
        known = variants.get(variant)
        if known is None or known[0] != generation(isvc):
            known = generation(isvc), await self._resolve(isvc)
            variants[variant] = known
        return {**isvc, "spec": known[1]}

    def forget(self, isvc: Obj) -> None:
        """Lets go of a deleted service."""
        self._found.pop(uid(isvc), None)

    async def _resolve(self, isvc: Obj) -> Obj:
        copy: Obj = {"spec": deep_copy(isvc["spec"])}
        for place, key in _places(copy):
            if place[key].startswith(_SCHEME):
                place[key] = await self._lookup(place[key])
        spec: Obj = copy["spec"]
        return spec

    async def _lookup(self, address: str) -> str:
        try:
            return await asyncio.to_thread(registry.resolve, parse_uri(address), self._env)
        except ArtifactError as error:
            raise ModelNotRegistered(f"{address}: {error}") from error


def _places(isvc: Obj) -> list[tuple[Obj, str]]:
    """Where a predictor names its models."""
    predictor = isvc["spec"]["predictor"]
    model = predictor.get("model") or {}
    found = [(model, "storageUri")] if model.get("storageUri") else []
    return found + [(entry, "uri") for entry in predictor.get("storageUris") or ()]
