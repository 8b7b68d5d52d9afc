"""Where a revision's reference profile is kept, which may be there before its pods, or later.

With the model in the registry; beside the files that its pods have; and beside those that they were
copied from, as long as that is a folder which the platform sees. It is asked for again and again:
a data scientist serves a model, and keeps its profile when monitoring is thought of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import aiohttp
import msgspec

from kubeling.artifacts.errors import ArtifactError
from kubeling.component import Context
from kubeling.kube.objects import Obj, name
from kubeling.serving.storage.uris import UnknownScheme, parse_uri
from kubeling.serving.watching.looking import profile_of_pods

if TYPE_CHECKING:
    from kubeling.serving.drift.profile import Profile

__all__ = ["Reference", "References"]

_REGISTRY: Final = "the profile in the Model Registry"
_BESIDE: Final = "the profile kept with the model"
_MODELS: Final = "/mnt/models"


class Reference(NamedTuple):
    """A profile, and what it is called in reports."""

    profile: Profile
    source: str


class References:
    """Finds the reference profiles of revisions."""

    def __init__(self, context: Context) -> None:
        self._settings = context.settings
        self._recorder = context.recorder("model-monitor")

    async def find(
        self, session: aiohttp.ClientSession, isvc: Obj, pods: Sequence[Obj], known: str
    ) -> tuple[bool, Reference | None]:
        """Whether it could be looked for, and what is kept; ``known`` is the present one's source.

        What cannot be read is told by an Event, and does not take the place of what is known.
        """
        address = _address_of(pods[0])
        try:
            if address.startswith("model-registry://"):
                registered = await self._registered(address)
                if registered is not None:
                    return True, Reference(registered, _REGISTRY)
            answered, profile = await profile_of_pods(session, pods)
            if profile is None:
                profile = await asyncio.to_thread(_beside, address)
        except (ArtifactError, msgspec.MsgspecError) as error:
            await self._recorder.warning(isvc, "NoReferenceProfile", f"{name(pods[0])}: {error}")
            return True, None
        if profile is None or known == _REGISTRY:
            return answered, None
        return True, Reference(profile, _BESIDE)

    async def _registered(self, address: str) -> Profile | None:
        from kubeling.serving.drift.keeping import profile_in_registry

        env = {"MODEL_REGISTRY_BASE_URL": self._settings.gateway_url}
        return await asyncio.to_thread(profile_in_registry, address, env)


def _address_of(pod: Obj) -> str:
    """What a pod's initializer was told to fetch: the service may name another model by now."""
    for container in pod["spec"].get("initContainers") or ():
        arguments: list[str] = container.get("args") or []
        if _MODELS in arguments[1::2]:
            return arguments[arguments.index(_MODELS) - 1]
    return ""


def _beside(address: str) -> Profile | None:
    """The profile in the folder that a model was copied from, if it is there."""
    from kubeling.serving.drift.profile import PROFILE_FILE, Profile

    try:
        place = parse_uri(address)
        if place.scheme != "file":
            return None
        content = (Path(place.path) / PROFILE_FILE).read_bytes()
    except (UnknownScheme, ValueError, OSError):
        return None
    return msgspec.json.decode(content, type=Profile)
