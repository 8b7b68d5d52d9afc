"""A model on its way to being served: its InferenceService, and what can be said of a failure."""

from __future__ import annotations

from typing import Self

import msgspec

from kubeling.cli.errors import CliError
from kubeling.cli.serving.manifest import Served, changed, is_served, new_service
from kubeling.gateway.models.failure import Explanation, explain, local_place
from kubeling.gateway.models.progress import Progress, progress_of
from kubeling.gateway.models.traffic import shares_of
from kubeling.kube.client import Client
from kubeling.kube.errors import Forbidden
from kubeling.kube.objects import Obj, name, namespace
from kubeling.kube.resources import PODS
from kubeling.serving.names import SERVICE
from kubeling.serving.resources import (
    CLUSTER_SERVING_RUNTIMES,
    INFERENCE_SERVICES,
    SERVING_RUNTIMES,
)

__all__ = ["Rollout"]


class Rollout:
    """A service that was made, or given another model."""

    def __init__(self, client: Client, isvc: Obj, before: Obj | None) -> None:
        self._client = client
        self._isvc = isvc
        self._before = before
        self._pods: list[Obj] = []

    @classmethod
    async def begin(cls, client: Client, title: str, where: str, served: Served) -> Self:
        """Makes the service, or gives the one there is another model.

        A canary with nothing to share the requests with is none: it would become one with whatever
        is changed next. Raises :class:`CliError` if no runtime serves the format.
        """
        before = await client.find(INFERENCE_SERVICES, title, where)
        await _check_format(client, where, served.format_name)
        alone = before is None or (is_served(before, served) and len(shares_of(before)) == 1)
        if alone:
            served = msgspec.structs.replace(served, canary=None)
        if before is None:
            made = await client.create(INFERENCE_SERVICES, new_service(title, served), where)
        else:
            patch = changed(before, served)
            made = await client.patch(INFERENCE_SERVICES, title, patch, where)
        return cls(client, made, before)

    @property
    def name(self) -> str:
        return name(self._isvc)

    @property
    def namespace(self) -> str:
        return namespace(self._isvc)

    @property
    def path(self) -> str:
        """Below the dashboard's address, where it answers."""
        return f"/serving/{self.namespace}/{self.name}"

    @property
    def page(self) -> str:
        """Below the dashboard's address, where it is shown."""
        kind = f"{INFERENCE_SERVICES.api_version}/{INFERENCE_SERVICES.kind}"
        return f"/objects/{kind}/{self.namespace}/{self.name}"

    @property
    def is_new(self) -> bool:
        """Whether there was none before."""
        return self._before is None

    @property
    def shares(self) -> dict[str, int]:
        """Percent of the requests by revision."""
        return {share.revision: share.percent for share in shares_of(self._isvc)}

    async def read(self) -> Progress:
        """How far it is."""
        found = await self._client.find(INFERENCE_SERVICES, self.name, self.namespace)
        if found is None:
            return Progress("failed", "the service was deleted")
        self._isvc = found
        labels = f"{SERVICE}={self.name}"
        self._pods = (await self._client.list(PODS, self.namespace, labels=labels)).items
        return progress_of(found, self._pods)

    async def stop(self) -> None:
        """Takes it back: a new service is deleted, another keeps its earlier revision."""
        if self.is_new:
            await self._client.delete(INFERENCE_SERVICES, self.name, self.namespace)
            return
        patch = {"spec": {"predictor": {"canaryTrafficPercent": 0}}}
        await self._client.patch(INFERENCE_SERVICES, self.name, patch, self.namespace)

    async def explanation(self, progress: Progress) -> Explanation:
        """Why the newest revision does not come up."""
        place = local_place(self._isvc)
        return await explain(self._client, progress, self._pods, place)


async def _check_format(client: Client, where: str, format_name: str) -> None:
    """The controller refuses it as well, but then the service has it."""
    try:
        own = (await client.list(SERVING_RUNTIMES, where)).items
        shared = (await client.list(CLUSTER_SERVING_RUNTIMES)).items
    except Forbidden:
        return
    known = {
        entry["name"]
        for runtime in (*own, *shared)
        for entry in runtime["spec"].get("supportedModelFormats") or ()
    }
    if format_name not in known:
        raise CliError(
            f"no serving runtime here serves models of format {format_name}",
            f"Say it with --format, as one of: {', '.join(sorted(known))}.",
        )
