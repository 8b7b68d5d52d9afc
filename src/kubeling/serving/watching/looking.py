"""Asks the pods of a monitored service what they were asked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import aiohttp
import msgspec

from kubeling.kube.objects import Obj, labels, name
from kubeling.serving.drift.profile import Profile
from kubeling.serving.names import COMPONENT, deployment_name
from kubeling.serving.observation import is_pod_ready, revision_of
from kubeling.serving.server.sampling import Samples
from kubeling.serving.workloads import serving_port

__all__ = ["Looked", "look", "profile_of_pods", "watched_pods"]

_TIMEOUT: Final = aiohttp.ClientTimeout(total=5.0)

Looked = dict[str, list[Samples]]
"""By revision, what each of its pods showed."""


def watched_pods(isvc: Obj, pods: Sequence[Obj], component: str) -> dict[str, list[Obj]]:
    """The ready pods of the component that shows samples, by the predictor's revision."""
    found: dict[str, list[Obj]] = {}
    for pod in pods:
        if labels(pod).get(COMPONENT) == component and is_pod_ready(pod):
            revision = deployment_name(name(isvc), "predictor", revision_of(pod))
            found.setdefault(revision, []).append(pod)
    return found


async def look(
    session: aiohttp.ClientSession,
    pods: Mapping[str, Sequence[Obj]],
    wanted: Mapping[str, Sequence[str]],
) -> Looked:
    """What the pods show; one that does not answer is passed over."""
    entries = [(revision, pod) for revision, several in pods.items() for pod in several]
    shown = await asyncio.gather(
        *(_samples(session, pod, wanted.get(revision, ())) for revision, pod in entries)
    )
    found: Looked = {revision: [] for revision in pods}
    for (revision, _), samples in zip(entries, shown, strict=True):
        if samples is not None:
            found[revision].append(samples)
    return found


async def profile_of_pods(
    session: aiohttp.ClientSession, pods: Sequence[Obj]
) -> tuple[bool, Profile | None]:
    """Whether a pod answered, and the profile that lies beside its model, if any does.

    Raises :class:`msgspec.MsgspecError` if that is none.
    """
    for pod in pods:
        try:
            async with session.get(f"{_address(pod)}/monitor/profile", timeout=_TIMEOUT) as answer:
                if answer.status == 200:
                    return True, msgspec.json.decode(await answer.read(), type=Profile)
                if answer.status == 404:
                    return True, None
        except (aiohttp.ClientError, TimeoutError):
            continue
    return False, None


async def _samples(
    session: aiohttp.ClientSession, pod: Obj, wanted: Sequence[str]
) -> Samples | None:
    try:
        async with session.post(
            f"{_address(pod)}/monitor/samples", json={"answers": list(wanted)}, timeout=_TIMEOUT
        ) as answer:
            if answer.status != 200:
                return None
            return msgspec.json.decode(await answer.read(), type=Samples)
    except (aiohttp.ClientError, TimeoutError, msgspec.MsgspecError):
        return None


def _address(pod: Obj) -> str:
    return f"http://{(pod.get('status') or {}).get('podIP')}:{serving_port(pod)}"
