"""Keeps interpreters ready for pods that are not there: those of services at rest.

A Deployment says so by an annotation (:data:`.templates.ANNOTATION`), and what its pods would run
is worked out as for a pod. Deployments whose pods start the same interpreter with the same modules
share one. When one of them is to have pods again, forks wait for these before they are made:
forking a large interpreter takes as long as all else until it is needed. Nothing depends on any of
it: what cannot be worked out, or does not bear it, has no interpreter kept, and an event says why.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Final

from kubeling.engine.assembly import ContainerParts
from kubeling.engine.fields import PodFacts
from kubeling.engine.notready import NotReady
from kubeling.engine.podspec import init_containers, main_containers
from kubeling.engine.preparation import Preparation
from kubeling.engine.services import NodeServices
from kubeling.engine.templates import ANNOTATION, Templates
from kubeling.kube import objects
from kubeling.kube.errors import ApiError
from kubeling.kube.objects import Obj, name, namespace, uid
from kubeling.kube.resources import DEPLOYMENTS

__all__ = ["keep_ready"]

log = logging.getLogger(__name__)

_READY: Final = "ready"
_PAUSE_SECONDS: Final = 0.5
"""Pods that are ending use the machine, and what changes often is looked at once."""


async def keep_ready(node: NodeServices, templates: Templates) -> None:
    """Has the templates that Deployments ask for, until cancelled."""
    news = asyncio.Event()
    programs: dict[str, list[ContainerParts]] = {}
    told: dict[str, str] = {}
    templates.on_failure(news.set)

    def changed(old: Obj | None, new: Obj | None) -> None:
        if _asks(old) or _asks(new):
            news.set()
        if new is not None and _asks(old) and _replicas(new) > _replicas(old):
            for parts in programs.get(uid(new), ()):
                templates.stand_by(parts)

    informer = node.informers.of(DEPLOYMENTS)
    informer.add_handler(changed)
    await informer.wait_synced()
    while True:
        await news.wait()
        await node.clock.sleep(_PAUSE_SECONDS)
        news.clear()
        asking = [deployment for deployment in informer.list() if _asks(deployment)]
        programs = {uid(one): [parts async for parts in _programs(node, one)] for one in asking}
        templates.keep(parts for several in programs.values() for parts in several)
        said = {uid(one): _obstacles(templates, programs[uid(one)]) for one in asking}
        for one in asking:
            if (text := said[uid(one)]) and text != told.get(uid(one)):
                node.events.normal(one, "NoInterpreterKept", text)
        told = said


def _asks(deployment: Obj | None) -> bool:
    return deployment is not None and objects.annotations(deployment).get(ANNOTATION) == _READY


def _replicas(deployment: Obj | None) -> int:
    return 0 if deployment is None else int(deployment["spec"].get("replicas", 1))


def _obstacles(templates: Templates, programs: Sequence[ContainerParts]) -> str:
    """Why pods will be started as if nothing was kept for them; empty if nothing is known."""
    why = {parts.container["name"]: templates.why_not(parts) for parts in programs}
    return "; ".join(
        f"container {container} starts with a new interpreter, as none can be kept: {reason}"
        for container, reason in why.items()
        if reason
    )


async def _programs(node: NodeServices, deployment: Obj) -> AsyncIterator[ContainerParts]:
    """What a Deployment's pods would run."""
    template = deployment["spec"]["template"]
    own = {"name": name(deployment), "namespace": namespace(deployment), "uid": ""}
    pod = {**template, "metadata": {**(template.get("metadata") or {}), **own}}
    facts = PodFacts(pod, "", node.host_ip, node.config.node_name, node.allocatable)
    preparation = Preparation(node, node.config.paths.pod(""))
    for container in (*init_containers(pod), *main_containers(pod)):
        try:
            yield await preparation.as_it_would_be(facts, container)
        except (NotReady, ApiError, ConnectionError) as error:
            log.info("nothing is kept ready for %s: %s", container["name"], error)
        except Exception:
            # Anybody may write a Deployment, and the node goes on whatever it says.
            log.exception("nothing is kept ready for %s", container["name"])
